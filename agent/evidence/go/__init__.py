"""What a Go program tells of itself through net/http/pprof, where its entry names the address."""
