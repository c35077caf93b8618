"""What the kernel tells of any process: mappings, descriptors, threads, limits, its cgroup."""
