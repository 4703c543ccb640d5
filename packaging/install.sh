#!/bin/sh
# Install, upgrade or remove bai-wizard: sh install.sh [--uninstall [--purge] | --rollback].
#   (no option)   install in /opt/bai-wizard/VERSION, owned by root; the previous version is kept for --rollback.
#                 The link /opt/bai-wizard/current is replaced at once: a kill at any instant leaves a working version
#   --rollback    return to the previous version
#   --uninstall   remove all versions; runs and backups are kept, so that undo works after the next installation
#   --purge       with --uninstall: also remove runs and backups; nothing can be undone afterwards
# BAI_WIZARD_ROOT: another root directory (for images and tests).
set -eu
umask 022
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
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

# Link in the system → its target, relative to /opt/bai-wizard/current.
links() {
    cat <<END
usr/local/bin/bai-wizard bin/bai-wizard
usr/local/share/bash-completion/completions/bai-wizard share/bash-completion/completions/bai-wizard
usr/local/share/zsh/site-functions/_bai-wizard share/zsh/site-functions/_bai-wizard
usr/local/share/fish/vendor_completions.d/bai-wizard.fish share/fish/vendor_completions.d/bai-wizard.fish
usr/local/share/man/man1/bai-wizard.1 share/man/man1/bai-wizard.1
END
}

# Files of systemd, relative to /usr/local/lib/systemd. They are copied: `systemctl enable` would resolve a link to the
# directory of one version, and the timer would be gone with it.
units() {
    cat <<END
system/bai-wizard-drift.service
system/bai-wizard-drift.timer
system-preset/90-bai-wizard.preset
END
}

# Copy the files of the current version, which may have none, and let systemd read them again.
copy_units() {
    units | while read -r unit; do
        from=$home/current/share/systemd/${unit##*/}
        to=$root/usr/local/lib/systemd/$unit
        if [ -e "$from" ]; then
            mkdir -p "${to%/*}"
            cp -- "$from" "$to.new"
            mv -T -- "$to.new" "$to"
        else
            rm -f -- "$to"
        fi
    done
    reload_units
}

# The lock is held until this script ends: no run can start while the tree changes.
refuse_while_running() {
    mkdir -p "${lock%/*}"
    exec 8>>"$lock"
    chmod 600 "$lock"
    flock --nonblock 8 || refuse 'a run is in progress on this node; to watch it: bai-wizard attach. Nothing was changed'
}

# Two owners of one tree would remove each other's files.
refuse_beside_package() {
    { [ ! -L "$home/current" ] || [ -e "$home/current/install.sh" ]; } && [ ! -e "$root/usr/lib/bai-wizard" ] ||
        refuse 'bai-wizard is installed as a package; remove it first: apt-get remove bai-wizard. Runs and backups are kept'
}

# Print the target of a link; nothing without the link.
version_of() {
    [ -L "$home/$1" ] && readlink "$home/$1" || true
}

# Print the version in a directory of /opt/bai-wizard.
installed_version() {
    cat "$home/$1/VERSION" 2>/dev/null || true
}

# Print a name for the directory of a version. What `current` and `previous` lead to stays as it is until the new
# directory is complete; anything else of that name was left by an installation that was killed.
unused_name() {
    for each in "$1" "$1-2" "$1-3"; do
        if [ "$each" != "$2" ] && [ "$each" != "$3" ]; then
            rm -rf -- "${home:?}/$each"
            printf '%s' "$each"
            return
        fi
    done
}

# Create or replace a link atomically. A new link that was left by an installation that was killed is replaced.
point() {
    ln -sfn -- "$2" "$1.new"
    mv -T -- "$1.new" "$1"
}

# Whether a path is free, or a link that this script created.
is_ours() {
    if [ -L "$1" ]; then
        case $(readlink "$1") in /opt/bai-wizard/*) ;; *) return 1 ;; esac
    else
        [ ! -e "$1" ]
    fi
}

# Print the first path that find reports, without control characters.
found() {
    find "$@" -print -quit | LC_ALL=C tr -cd '[:print:]'
}

# Files that other users can change could be replaced before they are copied. A directory above may be world-writable
# if it is sticky, like /tmp, where other users cannot rename files of root.
refuse_what_others_can_change() {
    other=$(found "$here" \( ! -uid 0 -o ! -type l -perm /022 \))
    [ -z "$other" ] || refuse "$other can be changed by users other than root: unpack the archive as root in a new directory (mktemp -d)"
    above=$here
    while [ "$above" != / ]; do
        above=$(dirname -- "$above")
        other=$(found "$above" -maxdepth 0 \( ! -uid 0 -o -perm /022 ! -perm -1000 \))
        [ -z "$other" ] || refuse "users other than root can change files in $other: unpack the archive in a new directory (mktemp -d)"
    done
}

# Exactly the files listed in SHA256SUMS, no other files, no links. A .pth file would run at each start of Python.
refuse_other_files() (
    cd "$here"
    other=$(found . ! -type f ! -type d)
    [ -z "$other" ] || refuse "$other is neither a file nor a directory; this archive is not genuine"
    other=$(found . \( -name '*[[:cntrl:]]*' -o -name '*.pth' \))
    [ -z "$other" ] || refuse "$other has a name that this archive cannot contain"
    listed=$(sed 's/^[0-9a-f]\{64\}  //' SHA256SUMS | LC_ALL=C sort)
    there=$(find . -type f ! -path ./SHA256SUMS -printf '%P\n' | LC_ALL=C sort)
    [ "$listed" = "$there" ] || refuse 'the archive is damaged: its files are not the ones listed in SHA256SUMS. Copy it again'
    sha256sum --check --quiet --strict SHA256SUMS >/dev/null 2>&1 ||
        refuse 'the archive is damaged: its files do not match SHA256SUMS. Copy it again'
)

check_archive() {
    [ -d "$here/tree" ] || refuse "the directory tree is missing next to $0: unpack the whole archive and run its install.sh"
    refuse_what_others_can_change
    refuse_other_files
    machine=$(uname -m)
    [ "$machine" = "$(cat "$here/tree/ARCHITECTURE")" ] ||
        refuse "this archive is for $(cat "$here/tree/ARCHITECTURE"), this node is $machine"
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
    replaced=$(installed_version "$before")
    mkdir -p "$home"
    rm -rf "$home"/.new.* "$home/current.new" "$home/previous.new"
    name=$(unused_name "$version" "$before" "$(version_of previous)")
    new=$home/.new.$$
    cp -R --preserve=mode,timestamps -- "$here/tree" "$new"
    cp -- "$here/install.sh" "$new/install.sh"
    chown -R root:root "$new"
    chmod -R u+rwX,go+rX,go-w "$new"
    sync -f "$new"
    mv -T -- "$new" "$home/$name"
    # A version that is installed again replaces itself, not the version before it.
    if [ -n "$before" ] && [ "$replaced" != "$version" ]; then
        point "$home/previous" "$before"
    fi
    point "$home/current" "$name"
    sync -f "$home"
    drop_older
    links | while read -r link target; do
        mkdir -p "$root/${link%/*}"
        if ! is_ours "$root/$link"; then
            say "left unchanged, because bai-wizard did not create it: /$link"
            continue
        fi
        point "$root/$link" "/opt/bai-wizard/current/$target"
    done
    copy_units
    say "bai-wizard $version is installed${replaced:+ (previous version: $replaced)}"
}

# Remove all versions except the current and the previous one.
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
    [ -n "$previous" ] && [ -d "$home/$previous" ] || refuse 'no previous version is installed'
    current=$(version_of current)
    point "$home/current" "$previous"
    point "$home/previous" "$current"
    copy_units
    say "bai-wizard $(installed_version "$previous") is active again (previous version: $(installed_version "$current"))"
}

# The tree of another system is not the one that systemd runs.
reload_units() {
    [ -n "$root" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload || true
}

# The administrator may have enabled the timer.
remove_units() {
    [ -n "$root" ] || [ ! -d /run/systemd/system ] || systemctl --quiet stop bai-wizard-drift.timer || true
    rm -f -- "$root/etc/systemd/system/timers.target.wants/bai-wizard-drift.timer"
    units | while read -r unit; do rm -f -- "$root/usr/local/lib/systemd/$unit" "$root/usr/local/lib/systemd/$unit.new"; done
    reload_units
}

uninstall() {
    remove_units
    links | while read -r link target; do
        [ "$(readlink "$root/$link" || true)" != "/opt/bai-wizard/current/$target" ] || rm -f -- "$root/$link" "$root/$link.new"
    done
    rm -rf -- "$home"
    if [ "$1" = purge ]; then
        rm -rf -- "$root/var/lib/bai-wizard" "$root/var/cache/bai-wizard"
        say 'bai-wizard was removed, with its runs and backups'
    else
        say 'bai-wizard was removed; runs and backups are kept in /var/lib/bai-wizard'
    fi
}

case "${1:-}${2:+ $2}" in
'' | --rollback | --uninstall | '--uninstall --purge') ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
[ "$(id -u)" = 0 ] || refuse 'root is required; run it with sudo'
refuse_while_running
refuse_beside_package
case "${1:-}${2:+ $2}" in
'') install_version ;;
--rollback) rollback ;;
--uninstall) uninstall keep ;;
*) uninstall purge ;;
esac
