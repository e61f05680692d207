// The reader's choice of colours; without one the page follows the system.
for (const radio of document.querySelectorAll("input[name=theme]")) {
  radio.addEventListener("change", () => {
    applyTheme(radio.value);
    try { localStorage.setItem("superinfo-theme", radio.value); } catch { /* a page may be denied storage */ }
  });
}

function applyTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}

try {
  const kept = document.querySelector(`input[name=theme][value="${CSS.escape(localStorage.getItem("superinfo-theme"))}"]`);
  if (kept) { kept.checked = true; applyTheme(kept.value); }
} catch { /* as above */ }
