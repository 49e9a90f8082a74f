"""What a test sees of the page, and does with it: as a visitor, by what things are called."""

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, Page, expect

TABS = 20  # more than there is to reach


class Window:
    """One page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []  # that nobody caught
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    @property
    def messages(self) -> Locator:
        """All that is shown of messages, in order."""
        return self.page.locator(".message .bubble p")

    @property
    def scroll(self) -> Locator:
        """What the messages scroll in."""
        return self.page.get_by_label("Messages", exact=True)

    def message(self, text: str) -> Locator:
        """The message with this text."""
        return self.page.locator(".message", has=self.page.get_by_text(text, exact=True))

    @property
    def people(self) -> Locator:
        """Who is online."""
        return self.page.get_by_label("Who is online")

    async def connected(self) -> "Window":
        """Wait until it is."""
        await expect(self.page.get_by_role("status")).to_have_attribute("data-state", "live")
        return self

    async def say(self, text: str) -> None:
        """Type it and press Enter."""
        await self.page.get_by_role("textbox", name="Message #").fill(text)
        await self.page.keyboard.press("Enter")

    async def texts(self) -> list[str]:
        """Return what the messages say."""
        return await self.messages.all_inner_texts()

    async def barriers(self) -> list[tuple[str, list[str]]]:
        """Return what is serious or critical by axe's rules: each rule with the elements that break it."""
        found = (await Axe().run(self.page)).response["violations"]
        serious = [one for one in found if one["impact"] in {"serious", "critical"}]
        return [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious]

    async def tab_to(self, target: Locator, key: str = "Tab") -> None:
        """Press Tab until the target has the focus. Raises AssertionError where no number of them gets there."""
        for _ in range(TABS):
            await self.page.keyboard.press(key)
            if await target.evaluate("(one) => one === document.activeElement"):
                return
        raise AssertionError(f"{target} can't be reached by {key}")

    def room(self, name: str) -> Locator:
        """The room in the list."""
        return self.page.locator(".room").filter(has=self.page.get_by_text(name, exact=True))

    async def join(self, room: str) -> None:
        """Type its name and press Enter."""
        await self.page.get_by_role("textbox", name="Join or create a room").fill(room)
        await self.page.keyboard.press("Enter")
