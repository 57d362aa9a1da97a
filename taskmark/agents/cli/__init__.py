"""Agents whose model is `cli:…`: coding agents that are programs, such as Claude Code and Codex."""
