"""The pcnc compiler: match/action pipelines written in PCN, compiled to eBPF micro-blocks."""

__version__ = "0.1.0"
