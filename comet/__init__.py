"""Comet, the WebSocket gateway: the rooms' real-time path, and the end of the asynchronous one."""
