# Servers from Debian's and Ubuntu's archives, unpacked privately: nothing is installed and
# no privilege is needed. Sourced by lib.sh.

DEBIAN_KEYS=/usr/share/keyrings/debian-archive-keyring.gpg

# the mirror that is named, else the one this machine already uses; empty if it uses none
debian_mirror() {
  local found
  found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    grep -v '^ *#' | grep -oE 'https?://[^] ]+/debian/?( |$)' | head -n 1 | tr -d ' ' || true)
  echo "${CHANGELING_DEBIAN_MIRROR:-$found}"
}

debian_possible() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null &&
    [ -r "$DEBIAN_KEYS" ] && [ -n "$(debian_mirror)" ]
}

# debian_sources SUITE…, ubuntu_sources SUITE…: lines for apt
debian_sources() {
  printf "deb [signed-by=$DEBIAN_KEYS] $(debian_mirror) %s main\n" "$@"
}

# Ubuntu's keys are a package of Debian's
ubuntu_sources() {
  local keys=$CACHE/ubuntu-keys
  debian_unpack ubuntu-keys "$(debian_sources trixie)" "" ubuntu-keyring
  printf "deb [signed-by=$keys/usr/share/keyrings/ubuntu-archive-keyring.gpg] ${CHANGELING_UBUNTU_MIRROR:-http://archive.ubuntu.com/ubuntu} %s main universe\n" "$@"
}

retry() {
  local try
  for try in 1 2 3; do
    "$@" && return 0
    [ "$try" = 3 ] || { say "attempt $try failed, trying again: ${*:1:2}"; sleep 2; }
  done
  return 1
}

# debian_unpack NAME SOURCES PACKAGES ALONE: cache/NAME holds PACKAGES with all they need,
# and the packages ALONE without what they depend on
debian_unpack() {
  local name=$1 sources=$2 packages=$3 alone=$4
  local root=$CACHE/$name apt=$CACHE/apt-$name log=$CACHE/apt-$name.log deb fd
  [ -e "$root/.complete" ] && return 0
  exec {fd}>"$CACHE/.lock-$name"
  flock "$fd"
  if [ ! -e "$root/.complete" ]; then
    say "fetching $name (once; servers about 70 MB)"
    rm -rf "$apt" "$root"
    mkdir -p "$apt"/{lists,cache/archives}/partial "$apt"/none "$root"/usr/{bin,sbin,lib,lib64}
    : >"$apt/status"
    echo "$sources" >"$apt/sources.list"
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
      { [ -z "$packages" ] || APT_CONFIG=$apt/apt.conf retry apt-get -q -y -d install $packages; } &&
      { [ -z "$alone" ] || (cd "$apt/cache/archives" && APT_CONFIG=$apt/apt.conf retry apt-get -q download $alone); }; } >"$log" 2>&1; then
      tail -n 8 "$log" >&2
      die "could not fetch $name; details in $log"
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
