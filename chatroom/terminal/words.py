"""Where messages are typed. Neighbour: `app.py` sends them."""

from textual import events
from textual.widgets import Input


class Words(Input):
    """One line of input; of a pasted text all lines count, where Textual's own takes only the first."""

    def on_paste(self, event: events.Paste) -> None:
        """Take all of it, its lines joined by blanks."""
        event.prevent_default()
        event.stop()
        self.insert_text_at_cursor(" ".join(event.text.split()))
