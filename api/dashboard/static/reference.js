// The reference of the HTTP API, from the service's own description of it.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const tone = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", tone);
  tone();
  addEventListener("DOMContentLoaded", () => {
    SwaggerUIBundle({ url: "/openapi.json", dom_id: "#reference", deepLinking: true, validatorUrl: null });
  });
})();
