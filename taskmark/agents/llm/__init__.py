"""Agents whose model is a language model, asked through pydantic-ai (the extra `llm`).

`provider.py` holds the conversation: it asks, calls tools, checks the answer. `pools.py` says whom it asks,
`speaking.py` how, `permits.py` which tools may be called, `conversation.py` what outlives a worker.
Nothing here imports pydantic-ai before an agent is asked.
"""
