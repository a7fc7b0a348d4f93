"""What must not happen while somebody looks at a page, noted as it happens."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Dialog, Page, Request, Response

_REPORT = """
addEventListener("securitypolicyviolation", (event) =>
  memrelayViolation(`${event.violatedDirective} blocked ${event.blockedURI || "inline"}`));
"""


class Watch:
    """``faults`` of all pages of one context: errors on the console, exceptions, violations of the content
    security policy, dialogs that the page opens, answers of 500 and more, requests to other hosts.

    ``expected`` are statuses below 500 that the test provokes, of which the console may complain.
    """

    def __init__(self, url: str) -> None:
        self.faults: list[str] = []
        self.expected: set[int] = set()
        self._host = urlsplit(url).netloc

    async def attach(self, context: BrowserContext) -> None:
        await context.expose_function("memrelayViolation", self._violation)
        await context.add_init_script(_REPORT)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.faults.append(f"exception: {error.error}"))
        context.on("response", self._response)
        context.on("request", self._request)
        context.on("page", self._page)

    def _page(self, page: Page) -> None:
        page.on("dialog", self._dialog)

    async def _dialog(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def _violation(self, text: str) -> None:
        self.faults.append(f"content security policy: {text}")

    def _console(self, message: ConsoleMessage) -> None:
        told = [f"status of {status} " for status in self.expected]
        if message.type == "error" and not any(part in message.text for part in told):
            self.faults.append(f"console: {message.text}")

    def _response(self, response: Response) -> None:
        if response.status >= 500:
            self.faults.append(f"{response.status} for {response.url}")

    def _request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.netloc != self._host:
            self.faults.append(f"request to another host: {request.url}")
