"""Kafka's faults: which errors of aiokafka tell of one, and the errors that Job's adapters raise instead."""

from typing import Final

from aiokafka.errors import ConsumerStoppedError, IllegalOperation, KafkaError, MessageSizeTooLargeError

from common.errors import TooLarge, Unavailable, reason_of

# What aiokafka raises when Kafka is away or unwilling.
FAULTS: Final = (KafkaError, ConsumerStoppedError, IllegalOperation, TimeoutError, OSError)


class FaultsRaised:
    """A context that raises each of FAULTS as Unavailable, with its text."""

    def __enter__(self) -> None:
        """Let the body run."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Raise Unavailable for a fault; leave any other error as it is."""
        if isinstance(error, FAULTS):
            raise Unavailable(reason_of(error)) from error


def fault_of(error: BaseException) -> BaseException:
    """Return why a record was not written: TooLarge if it never will be. An error that is no fault of Kafka stays."""
    if isinstance(error, MessageSizeTooLargeError):
        return TooLarge(reason_of(error))
    return Unavailable(reason_of(error)) if isinstance(error, FAULTS) else error
