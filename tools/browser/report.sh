#!/usr/bin/env bash
# Opens reports in a headless browser, at the width of a desk and of a telephone, light and dark: nothing may be said on the
# console, nothing asked of the network, and nothing may reach beyond the width of the window. Skipped, loudly, without Chromium.
#
#   tools/browser/report.sh REPORT.html… [--screenshots FOLDER]
set -euo pipefail

browser=
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then
        browser=$name
        break
    fi
done
if [ -z "$browser" ]; then
    echo "SKIPPED: the look of reports: no Chromium is installed" >&2
    exit 0
fi

pages=()
pictures=
while [ $# -gt 0 ]; do
    case $1 in
        --screenshots) pictures=$(realpath -m "$2"); mkdir -p "$pictures"; shift ;;
        *) pages+=("$(realpath "$1")") ;;
    esac
    shift
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A browser makes requests of its own, whatever it is told; those of a page carry its site.
look() {
    local net=$1
    shift
    "$browser" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$scratch/profile" \
        --no-first-run --disable-background-networking --disable-component-update --disable-sync --disable-default-apps \
        --disable-domain-reliability --enable-logging=stderr --log-net-log="$net" "$@" 2>"$scratch/said"
}

failed=0
for page in "${pages[@]}"; do
    before=$failed
    failed=0
    # The browser's own script measures; it is added to a copy, since a report has none.
    cp "$page" "$scratch/page.html"
    printf '<script>document.documentElement.dataset.reach = document.documentElement.scrollWidth - innerWidth</script>' \
        >>"$scratch/page.html"
    for scheme in light dark; do
        for size in 1280,900 390,844; do
            look "$scratch/net.json" --window-size="$size" --blink-settings=preferredColorScheme="$([ $scheme = dark ] && echo 0 || echo 1)" \
                --dump-dom "file://$scratch/page.html" >"$scratch/dom"
            reach=$(grep -o 'data-reach="[-0-9]*"' "$scratch/dom" | grep -o '[-0-9]*' | tail -n 1 || true)
            if [ -z "$reach" ] || [ "$reach" -gt 0 ]; then
                echo "$page, $size, $scheme: reaches ${reach:-an unknown number of} points beyond the window" >&2
                failed=1
            fi
            if grep 'CONSOLE' "$scratch/said" >&2; then
                echo "$page, $size, $scheme: something was said on the console" >&2
                failed=1
            fi
            if grep -Eo 'site=file://[^"]*","url":"(https?|wss?|ftp)[^"]*"' "$scratch/net.json" >&2; then
                echo "$page, $size, $scheme: something was asked of the network" >&2
                failed=1
            fi
            if [ -n "$pictures" ]; then
                look "$scratch/net.json" --window-size="$size" --hide-scrollbars \
                    --blink-settings=preferredColorScheme="$([ $scheme = dark ] && echo 0 || echo 1)" \
                    --screenshot="$pictures/$(basename "$page" .html)-${size%,*}-$scheme.png" "file://$page" >/dev/null
            fi
        done
    done
    [ $failed = 1 ] || echo "$page: four windows, nothing said, nothing asked, nothing beyond the edge"
    [ $before = 0 ] || failed=1
done
exit $failed
