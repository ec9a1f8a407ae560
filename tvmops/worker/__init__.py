"""The worker: runs jobs inside a stack's Python environment. An island: it imports nothing of tvmops outside itself."""
