"""Measurements: what a packet costs, beside programs written by hand."""
