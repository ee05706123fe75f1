"""A page that is open in Chromium, with what it wrote to the console and asked for. The browser is a fixture of
conftest.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Opened:
    """`ready`: what is there when it is drawn."""

    def __init__(
        self,
        browser: Any,
        path: Path,
        size: tuple[int, int] = (1400, 1000),
        where: str = "",
        ready: str = "#scene .node",
    ) -> None:
        self.tab = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.said: list[str] = []
        self.asked: list[str] = []
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda problem: self.said.append(str(problem)))
        self.tab.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(path.as_uri() + where)
        self.tab.wait_for_selector(ready)

    def shown(self) -> list[str]:
        found: list[str] = self.tab.eval_on_selector_all(
            "#scene .node", "all => all.map(g => g.getAttribute('aria-label'))"
        )
        return found

    def click(self, label: str) -> None:
        self.tab.locator(f'#scene .node[aria-label="{label}"]').click()

    def done(self) -> None:
        """Nothing was said, and nothing asked for but the page."""
        asked = [url for url in self.asked if not url.startswith("about:")]
        assert self.said == [] and len(asked) == 1, (self.said, asked)
        self.tab.close()
