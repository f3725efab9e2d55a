"""The eBPF backend: pipeline graphs to C, one file a micro-block, and the manifest that tells how to load them."""
