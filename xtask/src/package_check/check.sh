# Installs, uses and purges the package goku in a system that is thrown away; any step that fails ends it.
set -eu

say() {
    echo "package check: $*"
}

fail() {
    say "FAILED: $*"
    journalctl --unit goku --no-pager --lines 30
    exit 1
}

# Runs a command until it succeeds, for at most 60 s.
await() {
    for _ in $(seq 600); do
        if "$@" >/dev/null 2>&1; then
            return 0
        fi
        sleep 0.1
    done
    fail "still not so after 60 s: $*"
}

began=$(date +%s%N)
apt-get install --yes --quiet --no-install-recommends /root/goku.deb
# The service tells when it is ready, and the installation waits for that: the first Set needs no second attempt.
goku set first value || fail "no Set right behind the installation"
say "from apt-get install to the first Set: $((($(date +%s%N) - began) / 1000000)) ms"
[ "$(goku get first)" = value ] || fail "the value is another"

[ "$(stat -c %U "/proc/$(systemctl show --property MainPID --value goku)")" = goku ] || fail "the server does not run as goku"
[ "$(stat -c %U:%a /var/lib/goku)" = goku:750 ] || fail "/var/lib/goku: $(stat -c %U:%a /var/lib/goku)"
[ "$(stat -c %U:%G:%a /etc/goku/goku.toml)" = root:goku:640 ] || fail "/etc/goku: $(stat -c %U:%G:%a /etc/goku/goku.toml)"
systemctl status --no-pager goku | grep -q 'Status: "listening on ' || fail "the status does not tell where it listens"

systemd-analyze verify --man=no goku.service || fail "systemd-analyze verify"
exposure=$(systemd-analyze security --no-pager --offline=yes --threshold=25 /usr/lib/systemd/system/goku.service) ||
    fail "the unit is exposed: $exposure"
say "$(echo "$exposure" | tail -1)"
for page in goku goku-serve goku-lease-keep-alive; do
    [ -e "/usr/share/man/man1/$page.1.gz" ] || fail "no page $page"
done
bash -n /usr/share/bash-completion/completions/goku || fail "completions of bash"
[ -s /usr/share/zsh/vendor-completions/_goku ] || fail "completions of zsh"
[ -s /usr/share/fish/vendor_completions.d/goku.fish ] || fail "completions of fish"

systemctl kill --signal=KILL goku
await goku get first
say "started again after a kill"

mkdir -p /run/systemd/system/goku.service.d
printf '[Service]\nWatchdogSec=2s\n' >/run/systemd/system/goku.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart goku
restarts=$(systemctl show --property NRestarts --value goku)
systemctl kill --signal=STOP goku
is_restarted() {
    [ "$(systemctl show --property NRestarts --value goku)" -gt "$restarts" ]
}
await is_restarted
await goku get first
say "started again by its watchdog where it stood still"
rm -r /run/systemd/system/goku.service.d
systemctl daemon-reload

# A configuration that cannot be right is no reason to start again and again.
sed -i 's|^#store = .*|store = "no-store"|' /etc/goku/goku.toml
systemctl restart goku && fail "a store that cannot be is taken"
[ "$(systemctl is-active goku)" = failed ] || fail "a wrong configuration: $(systemctl is-active goku)"
sed -i 's|^store = .*|#kept|' /etc/goku/goku.toml
apt-get install --yes --quiet --no-install-recommends --reinstall /root/goku.deb
grep -q '#kept' /etc/goku/goku.toml || fail "a reinstallation overwrote the configuration"
await goku get first
say "the configuration outlives a reinstallation"

apt-get purge --yes --quiet goku
left=$(find / -xdev -iname '*goku*' ! -path '/root/*' ! -path '/var/lib/goku/*' ! -path '*/goku-package-check.service' ! -path '/proc/*')
[ "$left" = /var/lib/goku ] || fail "left behind: $left"
[ -e /var/lib/goku/goku.db ] || fail "the store is gone"
systemctl cat goku >/dev/null 2>&1 && fail "the unit is still there"
say "purged: nothing is left but /var/lib/goku"
