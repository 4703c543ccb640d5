#!/bin/sh
# Installs, upgrades or removes bai-wizard: sh install.sh [--uninstall [--purge] | --rollback].
#   (nothing)     under /opt/bai-wizard/VERSION, root-owned; the version before stays for --rollback
#   --rollback    back to the version before
#   --uninstall   removes every version; runs and backups stay, so that undo works after the next installation
#   --purge       with --uninstall: runs and backups as well; nothing can be taken back after that
# BAI_WIZARD_ROOT: another root directory (for images and tests).
set -eu
umask 022
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
root=${BAI_WIZARD_ROOT:-}
home=$root/opt/bai-wizard
lock=$root/run/bai-wizard/lock

refuse() {
    printf 'install.sh: %s\n' "$1" >&2
    exit 3
}

say() {
    printf '%s\n' "$1"
}

# Link in the system → what it leads to, relative to /opt/bai-wizard/current.
links() {
    cat <<END
usr/local/bin/bai-wizard bin/bai-wizard
usr/local/share/bash-completion/completions/bai-wizard share/bash-completion/completions/bai-wizard
usr/local/share/zsh/site-functions/_bai-wizard share/zsh/site-functions/_bai-wizard
usr/local/share/fish/vendor_completions.d/bai-wizard.fish share/fish/vendor_completions.d/bai-wizard.fish
usr/local/share/man/man1/bai-wizard.1 share/man/man1/bai-wizard.1
END
}

# The lock is taken and kept until this script ends: no run can begin while the tree changes.
refuse_while_running() {
    mkdir -p "${lock%/*}"
    exec 8>>"$lock"
    chmod 600 "$lock"
    flock --nonblock 8 || refuse 'a run is in progress on this node; watch it with: bai-wizard attach. Nothing was touched'
}

# Two owners of one tree would remove each other's files.
refuse_beside_package() {
    [ ! -L "$home/current" ] || [ -e "$home/current/install.sh" ] ||
        refuse 'bai-wizard is here as a package; remove that first: apt-get remove bai-wizard. Runs and backups stay'
}

# The name that a link leads to; empty without the link.
version_of() {
    [ -L "$home/$1" ] && readlink "$home/$1" || true
}

# Makes or switches a link in one instant.
point() {
    ln -s -- "$2" "$1.new.$$"
    mv -T -- "$1.new.$$" "$1"
}

check_archive() {
    [ -d "$here/tree" ] || refuse "there is no tree beside $0: unpack the whole archive and start the install.sh in it"
    machine=$(uname -m)
    [ "$machine" = "$(cat "$here/tree/ARCHITECTURE")" ] ||
        refuse "this archive is for $(cat "$here/tree/ARCHITECTURE"), this node is $machine"
    (cd "$here/tree" && sha256sum --check --quiet --strict ../SHA256SUMS >/dev/null 2>&1) ||
        refuse 'the archive is damaged: its files are not those of SHA256SUMS. Copy it again'
    size=$(du -sk "$here/tree" | cut -f1)
    free=$(df -Pk "$(nearest "$home")" | awk 'NR == 2 { print $4 }')
    [ "$free" -gt $((size + 10240)) ] || refuse "$home needs $((size / 1024)) MiB, there are $((free / 1024)) MiB free"
}

nearest() {
    place=$1
    while [ ! -d "$place" ]; do place=$(dirname -- "$place"); done
    printf '%s' "$place"
}

install_version() {
    check_archive
    version=$(cat "$here/tree/VERSION")
    before=$(version_of current)
    mkdir -p "$home"
    rm -rf "$home"/.new.*
    new=$home/.new.$$
    cp -R --preserve=mode,timestamps,links -- "$here/tree" "$new"
    cp -- "$here/install.sh" "$new/install.sh"
    chown -R root:root "$new"
    chmod -R u+rwX,go+rX,go-w "$new"
    if [ -d "$home/$version" ]; then
        mv -T -- "$home/$version" "$home/.old.$$"
    fi
    mv -T -- "$new" "$home/$version"
    point "$home/current" "$version"
    rm -rf "$home"/.old.*
    if [ -n "$before" ] && [ "$before" != "$version" ]; then
        point "$home/previous" "$before"
    fi
    drop_older
    links | while read -r link target; do
        mkdir -p "$root/${link%/*}"
        if [ -e "$root/$link" ] && [ ! -L "$root/$link" ]; then
            say "left alone, for it is not ours: /$link"
            continue
        fi
        point "$root/$link" "/opt/bai-wizard/current/$target"
    done
    say "bai-wizard $version is installed${before:+ (before: $before)}"
}

# Everything but the current version and the one before.
drop_older() {
    current=$(version_of current)
    previous=$(version_of previous)
    for each in "$home"/*/; do
        name=$(basename -- "$each")
        [ -L "${each%/}" ] || [ "$name" = "$current" ] || [ "$name" = "$previous" ] || rm -rf -- "$home/$name"
    done
}

rollback() {
    previous=$(version_of previous)
    [ -n "$previous" ] && [ -d "$home/$previous" ] || refuse 'there is no version before this one'
    current=$(version_of current)
    point "$home/current" "$previous"
    point "$home/previous" "$current"
    say "bai-wizard $previous is current again (before: $current)"
}

uninstall() {
    links | while read -r link target; do
        [ "$(readlink "$root/$link" || true)" != "/opt/bai-wizard/current/$target" ] || rm -f -- "$root/$link"
    done
    rm -rf -- "$home"
    if [ "$1" = purge ]; then
        rm -rf -- "$root/var/lib/bai-wizard" "$root/var/cache/bai-wizard"
        say 'bai-wizard is removed, with its runs and backups'
    else
        say 'bai-wizard is removed; runs and backups are kept in /var/lib/bai-wizard'
    fi
}

case "${1:-}${2:+ $2}" in
'' | --rollback | --uninstall | '--uninstall --purge') ;;
*)
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
[ "$(id -u)" = 0 ] || refuse 'this needs root; start it with sudo'
refuse_while_running
refuse_beside_package
case "${1:-}${2:+ $2}" in
'') install_version ;;
--rollback) rollback ;;
--uninstall) uninstall keep ;;
*) uninstall purge ;;
esac
