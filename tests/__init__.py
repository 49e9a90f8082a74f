"""ChatRoom's tests: unit (fakes allowed), integration (real servers), e2e (through `chatroom up`)."""
