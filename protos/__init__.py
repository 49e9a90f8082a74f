"""The protocol buffers and, beside them, the modules generated from them (`make protos`)."""
