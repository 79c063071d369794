// Runs before the first paint, so that the colours chosen earlier do not flash.
"use strict";
try {
  const theme = localStorage.getItem("telstate-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the colours then follow the system.
}
