// What the theme leaves out for screen readers and keyboards: each copy button lies in a nav, which would be a landmark,
// and a wide table scrolls in a box that cannot be reached by keys.
const repair = () => {
  document.querySelectorAll("nav.md-code__nav:not([role])").forEach((nav) => nav.setAttribute("role", "none"));
  document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])").forEach((box) => {
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Table");
  });
};
new MutationObserver(repair).observe(document.body, { childList: true, subtree: true });
repair();
