// The elements that leave their column or their screen, and the parts of the bar that overlap. Empty where all is well.
() => {
  const found = [];
  const name = (one) => `${one.tagName.toLowerCase()}${one.id && `#${one.id}`}${[...one.classList].map((c) => `.${c}`).join("")}`;
  const shown = (one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest(".unseen, .skip, [data-drawer=''] #scrim");
  const screen = document.documentElement;
  if (screen.scrollWidth > screen.clientWidth) found.push(`the page: ${screen.scrollWidth} > ${screen.clientWidth}`);
  for (const column of document.querySelectorAll("#sidebar, main, #people, dialog[open]")) {
    if (!shown(column)) continue;
    const bounds = column.getBoundingClientRect();
    if (bounds.left < -1 || bounds.right > innerWidth + 1 || bounds.bottom > innerHeight + 1) found.push(`${name(column)} and the screen`);
    for (const one of column.querySelectorAll("*")) {
      if (!shown(one) || one.parentElement.closest("pre, svg")) continue;
      const { left, right, width } = one.getBoundingClientRect();
      if (width > 0 && (left < bounds.left - 1 || right > bounds.right + 1)) found.push(`${name(one)} ${left}-${right} in ${name(column)}`);
      const cut = !["visible", "auto"].includes(getComputedStyle(one).overflowX) || one.closest("pre, textarea");
      if (!cut && one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0) found.push(`${name(one)} holds ${one.scrollWidth} in ${one.clientWidth}`);
    }
  }
  const parts = [...document.querySelectorAll(".bar > *, #composer > *")].filter(shown).map((one) => [one, one.getBoundingClientRect()]);
  for (const [i, [one, a]] of parts.entries())
    for (const [other, b] of parts.slice(i + 1))
      if (one.parentElement.matches(".bar") && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
        if (!other.matches("#retry") || !one.matches("#state")) found.push(`${name(one)} over ${name(other)}`);
  return found;
}
