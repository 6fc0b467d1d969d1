#!/usr/bin/env bash
# Opens every page of the built book in a headless browser, at the width of a desk: no block of code may be cut off, no formula
# may stand there as LaTeX, and a search must find something. Skipped, loudly, without Chromium.
#
#   tools/browser/book.sh [BOOK] [--screenshots FOLDER]
set -euo pipefail

browser=
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then
        browser=$name
        break
    fi
done
if [ -z "$browser" ]; then
    echo "SKIPPED: the look of the book: no Chromium is installed" >&2
    exit 0
fi

book=$(dirname "${BASH_SOURCE[0]}")/../../docs/book
pictures=
while [ $# -gt 0 ]; do
    case $1 in
        --screenshots) pictures=$(realpath -m "$2"); mkdir -p "$pictures"; shift ;;
        *) book=$1 ;;
    esac
    shift
done
book=$(realpath "$book")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

look() {
    "$browser" --headless=new --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync --user-data-dir="$scratch/profile" \
        --window-size=1280,900 "$@" 2>/dev/null
}

# toc.html is the list of pages for readers without scripts, print.html all pages again.
mapfile -t pages < <(cd "$book" && find . -name '*.html' ! -name toc.html ! -name print.html -printf '%P\n' | sort)
if [ "${#pages[@]}" -lt 10 ]; then
    echo "$book has ${#pages[@]} pages; build it by \`cargo xtask docs\`" >&2
    exit 1
fi

# One page opens all others, one after the other, each as wide as a desk, and writes down what it finds.
{
    echo '<!doctype html><meta charset="utf-8"><pre id="found"></pre><script>'
    printf 'const book = "file://%s/";\nconst pages = `' "$book"
    printf '%s\n' "${pages[@]}"
    cat <<'SCRIPT'
`.trim().split("\n");
const found = [];
const open = async (url) => {
    const frame = document.createElement("iframe");
    frame.style.cssText = "width:1280px;height:900px";
    const loaded = new Promise((done) => frame.addEventListener("load", done));
    frame.src = url;
    document.body.append(frame);
    await loaded;
    return frame;
};
(async () => {
    let blocks = 0;
    for (const page of pages) {
        const frame = await open(book + page);
        const own = frame.contentDocument;
        for (const code of own.querySelectorAll("main pre > code")) {
            blocks += 1;
            const over = code.scrollWidth - code.clientWidth;
            if (over > 0) found.push(`WRONG ${page}: ${over} points of a block of code are cut off: ${code.textContent.trim().split("\n")[0]}`);
        }
        const prose = own.querySelector("main").cloneNode(true);
        prose.querySelectorAll("pre, code").forEach((code) => code.remove());
        for (const latex of prose.textContent.match(/\\\(|\\\[|\$\$|\\(frac|sqrt|sum|bar|hat|min|max|mathbb|left)\b/g) ?? []) {
            found.push(`WRONG ${page}: raw LaTeX: ${latex}`);
        }
        frame.remove();
    }
    // A search takes a moment after the page is there.
    const frame = await open(book + "index.html?search=ensemble");
    const results = () => frame.contentDocument.querySelectorAll("#mdbook-searchresults li").length;
    for (let tries = 0; tries < 100 && results() === 0; tries++) await new Promise((done) => setTimeout(done, 100));
    if (results() === 0) found.push("WRONG index.html: a search for `ensemble` finds nothing");
    found.push(`DONE ${pages.length} pages, ${blocks} blocks of code, ${results()} results of a search`);
    frame.remove();
    document.getElementById("found").textContent = ["", ...found, ""].join("\n");
})();
</script>
SCRIPT
} >"$scratch/look.html"

look --allow-file-access-from-files --virtual-time-budget=600000 --dump-dom "file://$scratch/look.html" >"$scratch/dom"
if [ -n "$pictures" ]; then
    for page in introduction algorithms/cql running/reports; do
        look --window-size=1280,2400 --hide-scrollbars --screenshot="$pictures/book-${page##*/}.png" \
            "file://$book/$page.html" >/dev/null
    done
fi
sed -n '/<pre id="found">/,/<\/pre>/p' "$scratch/dom" | grep -E '^(WRONG|DONE)' >"$scratch/said" || true
if ! grep -q '^DONE' "$scratch/said"; then
    echo "the book could not be looked at: the browser did not come to the last page" >&2
    exit 1
fi
if grep '^WRONG' "$scratch/said" >&2; then
    echo "$(grep -c '^WRONG' "$scratch/said") things are wrong in $(grep '^DONE' "$scratch/said" | cut -d' ' -f2-)" >&2
    exit 1
fi
echo "$book: $(grep '^DONE' "$scratch/said" | cut -d' ' -f2-): nothing cut off, no raw LaTeX"
