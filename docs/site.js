// The theme puts each copy button into a nav of its own. Screen readers would list all of them as landmarks.
new MutationObserver(() => {
  document.querySelectorAll("nav.md-code__nav:not([role])").forEach((nav) => nav.setAttribute("role", "none"));
}).observe(document.body, { childList: true, subtree: true });
