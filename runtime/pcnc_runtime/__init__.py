"""Loads compiled pipelines into the kernel, keeps them pinned there, and swaps them while packets flow."""
