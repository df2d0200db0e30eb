// What pages do better with JavaScript. Each works without it; nothing here decides anything the server relies on.
"use strict";

(() => {
  const said = (name) => document.body.dataset[name] || "";
  const announce = (text) => {
    const place = document.getElementById("said");
    if (place) place.textContent = text;
  };

  // Copying: <button data-copy="the text" hidden>.
  const showCopyButtons = (root) => {
    if (!navigator.clipboard) return;
    for (const button of root.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
  };
  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      announce(said("saidNotCopied"));
      return;
    }
    button.classList.add("done");
    announce(said("saidCopied"));
    setTimeout(() => button.classList.remove("done"), 2000);
  };

  // Typed confirmation: <form data-confirm="the text"> with an <input data-confirm-field>.
  const isConfirmed = (form) => {
    const field = form.querySelector("[data-confirm-field]");
    return !field || field.value.trim() === form.dataset.confirm;
  };
  const watchConfirmation = (form) => {
    const update = () => {
      for (const button of form.querySelectorAll("button[type=submit]")) button.disabled = !isConfirmed(form);
    };
    form.addEventListener("input", update);
    update();
  };

  // Progress: a form that takes longer than a second says so, and is not sent twice.
  const showProgress = (form) => {
    const line = document.createElement("div");
    line.className = "busy-line";
    line.textContent = said("saidWorking");
    setTimeout(() => {
      if (!form.hasAttribute("data-sent")) return;
      document.body.append(line);
      announce(line.textContent);
    }, 1000);
    addEventListener("pageshow", () => {
      line.remove();
      form.removeAttribute("data-sent");
    }, { once: true });
  };
  const onSubmit = (event) => {
    const form = event.target;
    if (form.dataset.confirm !== undefined && !isConfirmed(form)) event.preventDefault();
    else if (form.hasAttribute("data-busy")) {
      if (form.hasAttribute("data-sent")) event.preventDefault();
      else {
        form.setAttribute("data-sent", "");
        showProgress(form);
      }
    }
  };

  // Live pages: <main data-refresh="5"> fetches this page every five seconds and replaces every [data-live] of its id.
  const isInUse = (region) =>
    region.contains(document.activeElement) && document.activeElement.matches("input, select, textarea") ||
    region.querySelector("details[open] form") !== null ||
    !getSelection().isCollapsed && region.contains(getSelection().anchorNode);
  const replaceRegions = (fresh) => {
    let changed = false;
    for (const old of document.querySelectorAll("[data-live][id]")) {
      const now = fresh.getElementById(old.id);
      if (!now || isInUse(old) || now.innerHTML === old.dataset.shown) continue;
      const focus = old.contains(document.activeElement) ? document.activeElement : null;
      const position = focus ? [...old.querySelectorAll("a, button, [tabindex]")].indexOf(focus) : -1;
      const open = [...old.querySelectorAll("details")].map((details) => details.open);
      const scrolled = [...old.querySelectorAll(".table")].map((table) => table.scrollLeft);
      changed = changed || old.dataset.shown !== undefined;
      old.dataset.shown = now.innerHTML;
      old.replaceChildren(...document.importNode(now, true).childNodes);
      showCopyButtons(old);
      old.querySelectorAll("details").forEach((details, index) => { details.open = open[index] ?? details.open; });
      old.querySelectorAll(".table").forEach((table, index) => { table.scrollLeft = scrolled[index] || 0; });
      const again = focus && (focus.id ? document.getElementById(focus.id) : old.querySelectorAll("a, button, [tabindex]")[position]);
      if (again) again.focus({ preventScroll: true });
    }
    return changed;
  };
  const refresh = async () => {
    const answer = await fetch(location.href, { headers: { "x-refresh": "1" }, redirect: "error", cache: "no-store" });
    if (!answer.ok) throw new Error("refused");
    return replaceRegions(new DOMParser().parseFromString(await answer.text(), "text/html"));
  };
  const keepFresh = (seconds) => {
    let failures = 0, spoken = 0;
    const turn = async () => {
      if (!document.hidden) {
        try {
          const changed = await refresh();
          failures = 0;
          if (changed && Date.now() - spoken > 30000) {
            spoken = Date.now();
            announce(said("saidUpdated"));
          }
        } catch {
          failures += 1;
        }
      }
      if (failures >= 3) announce(said("saidStopped"));
      else setTimeout(turn, seconds * 1000 * 2 ** failures);
    };
    setTimeout(turn, seconds * 1000);
  };

  // The reader's time zone, for the server; a page that showed times is loaded once more when it changes.
  const tellZone = () => {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
    const has = () => document.cookie.split("; ").includes(`tz=${zone}`);
    if (has() || !/^[\w+\/-]{1,64}$/.test(zone)) return;
    document.cookie = `tz=${zone}; path=/; max-age=31536000; samesite=lax; secure`;
    if (has() && document.documentElement.dataset.zone !== zone && document.querySelector("time") && !document.querySelector(".secret") &&
        document.documentElement.hasAttribute("data-reloadable")) location.reload();
  };

  // Redirect URIs: <textarea data-redirect-uris aria-describedby=…> says at once what the server would say.
  // Sentences come from the field: data-said-good, data-said-https and so on.
  const faultOf = (uri) => {
    if (uri.length > 2000 || !/^[\x21-\x7e]+$/.test(uri)) return "ascii";
    const [, scheme, rest] = /^([A-Za-z][A-Za-z0-9+.-]*):(.*)$/.exec(uri) || [];
    if (!scheme) return "absolute";
    if (/[*]/.test(uri)) return "wildcard";
    if (uri.includes("#")) return "fragment";
    if (/["'<>\\^`{|}]|%(?![0-9A-Fa-f]{2})/.test(uri)) return "ascii";
    const authority = (/^\/\/([^/?]*)/.exec(rest) || [])[1] || "";
    if (authority.includes("@")) return "user";
    if (scheme !== scheme.toLowerCase()) return "case";
    if (scheme !== "https" && scheme !== "http") return scheme.includes(".") && rest.startsWith("/") ? "" : "scheme";
    if (!authority) return "absolute";
    if (scheme === "http" && !/^(127\.0\.0\.1|\[::1\])(:\d{1,5})?$/.test(authority)) return "https";
    if (authority !== authority.toLowerCase()) return "case";
    try {
      new URL(uri);
    } catch {
      return "absolute";
    }
    return "";
  };
  let isPressed = false;
  const watchPointer = () => {
    document.addEventListener("pointerdown", () => { isPressed = true; }, true);
    for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { isPressed = false; }, true);
  };
  const watchRedirectUris = (field) => {
    const place = document.createElement("p");
    place.className = "said";
    place.setAttribute("aria-live", "polite");
    field.after(place);
    const update = () => {
      const uris = field.value.split("\n").map((line) => line.trim()).filter(Boolean);
      const faults = uris.map((uri) => [uri, faultOf(uri)]).filter(([, fault]) => fault);
      const sentence = (fault) => field.dataset[`said${fault[0].toUpperCase()}${fault.slice(1)}`] || "";
      const isBad = faults.length > 0 || uris.length > 20;
      place.className = `said ${isBad ? "bad" : "good"}`;
      place.textContent = uris.length > 20 ? sentence("many")
        : isBad ? faults.map(([uri, fault]) => `\u2068${uri.slice(0, 60)}\u2069: ${sentence(fault)}`).join("\n")
        : uris.length ? sentence("good") : "";
      field.setAttribute("aria-invalid", String(isBad));
    };
    // Never while the pointer is down: the sentence would move the button from under it, and the click be lost.
    let waiting;
    const judge = () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => isPressed ? judge() : update(), 300);
    };
    field.addEventListener("input", judge);
    if (field.value) update();
  };

  // A secret is shown once: it is gone from the page before the browser could keep the page for "back".
  const forgetSecrets = () => document.querySelectorAll(".secret").forEach((shown) => shown.remove());

  // Tabs that do not fit scroll sideways: the one of this page is in sight.
  const showTab = (tab) => {
    const tabs = tab.closest(".tabs"), at = tab.getBoundingClientRect(), all = tabs.getBoundingClientRect();
    if (at.left < all.left || at.right > all.right) tabs.scrollLeft += at.left - all.left - (all.width - at.width) / 2;
  };

  const start = () => {
    addEventListener("pagehide", forgetSecrets);
    showCopyButtons(document);
    document.addEventListener("click", (event) => {
      const button = event.target.closest("[data-copy]");
      if (button) copy(button);
    });
    document.addEventListener("submit", onSubmit);
    document.querySelectorAll("form[data-confirm]").forEach(watchConfirmation);
    watchPointer();
    document.querySelectorAll("[data-redirect-uris]").forEach(watchRedirectUris);
    const live = document.querySelector("[data-refresh]");
    if (live) keepFresh(Math.max(1, Number(live.dataset.refresh) || 5));
    document.querySelectorAll(".tabs [aria-current]").forEach(showTab);
    tellZone();
  };
  start();
})();
