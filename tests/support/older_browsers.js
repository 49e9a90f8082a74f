// Deletes what one of Safari 16.0, Firefox ESR 102, Chrome 105 and a page without HTTPS lacks. Tests load it before the
// code that they try, as a module or as a script, so a use of any of these fails there as in such a browser. URL.parse and
// checkVisibility stay: Playwright itself calls them in the page.
{
  const missing = [
    [URL, "canParse"],
    [Object, "groupBy"],
    [Map, "groupBy"],
    [Promise, "withResolvers", "try"],
    [Array, "fromAsync"],
    [Array.prototype, "findLast", "findLastIndex", "toReversed", "toSorted", "toSpliced", "with"],
    [String.prototype, "isWellFormed", "toWellFormed"],
    [Set.prototype, "union", "intersection", "difference", "symmetricDifference", "isSubsetOf", "isSupersetOf", "isDisjointFrom"],
    [ArrayBuffer.prototype, "transfer", "transferToFixedLength", "resize"],
    [globalThis.AbortSignal ?? {}, "any"],
    [globalThis.Crypto?.prototype ?? {}, "randomUUID", "subtle"],
    [globalThis.HTMLElement?.prototype ?? {}, "showPopover", "hidePopover", "togglePopover", "popover"],
    [globalThis.Document ?? {}, "parseHTMLUnsafe"],
    [globalThis.Document?.prototype ?? {}, "startViewTransition"],
    [globalThis.Element?.prototype ?? {}, "setHTMLUnsafe"],
    [globalThis.Navigator?.prototype ?? {}, "userAgentData", "clipboard", "locks", "serviceWorker"],
    [Intl, "Segmenter", "DurationFormat"],
    [globalThis, "Iterator", "scheduler", "requestIdleCallback", "cookieStore"],
  ];
  for (const [owner, ...names] of missing) for (const name of names) delete owner[name];
}
