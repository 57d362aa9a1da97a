"""Adapters behind the tool port: what a step may do to files, processes and the network."""
