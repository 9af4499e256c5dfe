# Servers from Debian's archive, unpacked privately: nothing is installed and no
# privilege is needed. Sourced by lib.sh.

# the mirror that is named, else the one this machine already uses; empty if it uses none
debian_mirror() {
  local found
  found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    grep -v '^ *#' | grep -oE 'https?://[^] ]+/debian/?( |$)' | head -n 1 | tr -d ' ' || true)
  echo "${CHANGELING_DEBIAN_MIRROR:-$found}"
}

debian_possible() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null &&
    [ -r /usr/share/keyrings/debian-archive-keyring.gpg ] && [ -n "$(debian_mirror)" ]
}

retry() {
  local try
  for try in 1 2 3; do
    "$@" && return 0
    [ "$try" = 3 ] || { say "attempt $try failed, trying again: ${*:1:2}"; sleep 2; }
  done
  return 1
}

# debian_unpack FLAVOUR SUITE PACKAGES ALONE: cache/FLAVOUR holds PACKAGES with all they
# need, and the packages ALONE without what they depend on
debian_unpack() {
  local flavour=$1 suite=$2 packages=$3 alone=$4
  local root=$CACHE/$flavour apt=$CACHE/apt-$flavour log=$CACHE/apt-$flavour.log deb fd
  [ -e "$root/.complete" ] && return 0
  exec {fd}>"$CACHE/.lock-$flavour"
  flock "$fd"
  if [ ! -e "$root/.complete" ]; then
    say "fetching $flavour from Debian $suite (once; about 70 MB)"
    rm -rf "$apt" "$root"
    mkdir -p "$apt"/{lists,cache/archives}/partial "$apt"/none "$root"/usr/{bin,sbin,lib,lib64}
    : >"$apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $suite main" >"$apt/sources.list"
    # the machine's way to the network (proxies, certificates), but none of its hooks
    apt-config dump Acquire >"$apt/apt.conf"
    cat >>"$apt/apt.conf" <<CONF
Dir::Etc::main "$apt/none/apt.conf";
Dir::Etc::parts "$apt/none";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/none";
Dir::Etc::preferences "$apt/none/preferences";
Dir::Etc::preferencesparts "$apt/none";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
CONF
    if ! { APT_CONFIG=$apt/apt.conf retry apt-get -q update &&
      APT_CONFIG=$apt/apt.conf retry apt-get -q -y -d install $packages &&
      { [ -z "$alone" ] || (cd "$apt/cache/archives" && APT_CONFIG=$apt/apt.conf retry apt-get -q download $alone); }; } >"$log" 2>&1; then
      tail -n 8 "$log" >&2
      die "could not fetch $flavour from Debian $suite; details in $log"
    fi
    for deb in "$apt"/cache/archives/*.deb; do
      case ${deb##*/} in perl*|libperl*|debconf*|dpkg_*|tar_*) continue ;; esac
      # one lib folder, whether or not the package believes in merged /usr
      dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --no-same-owner \
        --exclude='./usr/share/doc*' --exclude='./usr/share/man*' --exclude='./usr/share/locale*' \
        --exclude='./usr/share/lintian*' --exclude='./var*' --exclude='./etc*' \
        --transform='flags=r;s,^\./\(lib\|lib64\|bin\|sbin\)\(/\|$\),./usr/\1\2,'
    done
    rm -rf "$apt"
    touch "$root/.complete"
  fi
  exec {fd}>&-
}
