"""What `leakwatch doctor` looks at before anything is watched or sent."""
