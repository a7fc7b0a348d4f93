// Times as people say them, and whether the page is live. All else is the server's.
(() => {
  const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

  const said = (seconds) => {
    if (seconds < 5) return "just now";
    const [unit, length] = UNITS.find(([, length]) => seconds >= length);
    return `${Math.floor(seconds / length)} ${unit} ago`;
  };

  const tell = () => {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const text = said(Math.max(0, (now - Date.parse(time.dateTime)) / 1000));
      if (time.textContent !== text) time.textContent = text;
    }
  };

  const live = (state) => {
    for (const mark of document.querySelectorAll("[data-live]")) {
      mark.hidden = false;
      mark.dataset.live = state;
      mark.textContent = state === "on" ? "Live" : state === "ended" ? "Ended" : "Reconnecting";
    }
  };

  tell();
  setInterval(tell, 1000);
  document.addEventListener("htmx:after:swap", tell);
  document.addEventListener("htmx:sse:after:connection", () => live("on"));
  document.addEventListener("htmx:sse:error", () => live("off"));
  document.addEventListener("htmx:sse:close", (event) => live(event.detail.reason === "message" ? "ended" : "off"));
})();
