#!/bin/sh
# Gives a node of a Galera cluster all the data of another one on the same machine, by copying its folder. The server
# runs this on both sides; the words that are printed are its protocol.
while [ $# -gt 0 ]; do
    case $1 in
        --role) role=$2; shift ;;
        --address) address=$2; shift ;;
        --datadir) data=${2%/}; shift ;;
        --gtid) position=$2; shift ;;
        --bypass) bypass=yes ;;
        --mysqld-args) break ;;
    esac
    shift
done
# What says who a node is and how far it came, and not what it holds.
is_own() {
    case ${1##*/} in
        galera.cache | grastate.dat | gvwstate.dat | tables_flushed | state_received*) true ;;
        *) false ;;
    esac
}
# The end of the server is the end of the waiting.
wait_for() {
    while [ ! -s "$1" ]; do
        kill -0 "$PPID" || exit 1
        sleep 0.02
    done
}
case $role in
joiner)
    rm -f "$data/state_received"
    echo "ready $data"
    wait_for "$data/state_received"
    cat "$data/state_received"
    rm -f "$data/state_received"
    ;;
donor)
    if [ -z "$bypass" ]; then
        echo 'flush tables'
        wait_for "$data/tables_flushed"
        read -r position domain <"$data/tables_flushed"
        rm -f "$data/tables_flushed"
        for file in "$address"/*; do is_own "$file" || rm -rf "$file"; done
        for file in "$data"/*; do is_own "$file" || cp -a "$file" "$address/" || exit 1; done
        echo continue
    fi
    echo "$position" >"$address/state_received.new"
    mv "$address/state_received.new" "$address/state_received"
    echo "done $position"
    ;;
esac
