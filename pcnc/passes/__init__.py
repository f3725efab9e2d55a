"""The passes of the optimiser: one file and one function each, pipeline to pipeline."""
