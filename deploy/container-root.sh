#!/bin/sh
# Makes the root of the file system of a container: container-root.sh PROGRAM FOLDER
#
# It holds the program and the libraries that it is linked with, at their places. Names of hosts are looked up by
# glibc itself, which needs no other library for files and DNS.
set -eu

program=$1
root=$2

if [ -e "$root" ]; then
    echo "$root exists: name a folder that does not" >&2
    exit 1
fi
mkdir -p "$root/usr/bin" "$root/etc" "$root/tmp" "$root/var/lib/goku"
install -m 0755 "$program" "$root/usr/bin/goku"

# Of each line of ldd the path, of the loader as well; the kernel's own library has none.
ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp --dereference "$library" "$root$library"
done

echo 'goku:x:65532:65532:goku:/var/lib/goku:/nonexistent' >"$root/etc/passwd"
echo 'goku:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"
chown 65532:65532 "$root/var/lib/goku"
chmod 0750 "$root/var/lib/goku"
