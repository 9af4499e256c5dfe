# Shared by the commands in this folder: names, places, how a server is found, started
# and stopped. See README.md.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
USER_NAME=changeling
PASSWORD=changeling
DEADLINE=60 # seconds a server has to become ready or to stop

say() { echo "testenv: $*" >&2; }
die() { say "$*"; exit 1; }

# need_room FOLDER GB: a server whose disk is full waits without end, and so would its tests
need_room() {
  local free
  free=$(($(df -Pk "$1" | awk 'END { print $4 }') / 1000000))
  [ "$free" -ge "$2" ] || die "$free GB are free in $1, $2 are needed: make room, or set CHANGELING_TESTENV_RUN to a folder on another disk"
}

own_folder() { mkdir -p "$1" && cd "$1" && pwd -P; }
RUN=$(own_folder "${CHANGELING_TESTENV_RUN:-$HERE/run}")
CACHE=$(own_folder "${CHANGELING_TESTENV_CACHE:-$HERE/cache}")
# below 32768, where the kernel takes no ports for outgoing connections
BASE_PORT=${CHANGELING_TESTENV_PORT:-23300}

# every server there is, and its distance from the base port
declare -A OFFSET=(
  [mysql-primary]=0 [mysql-replica]=1
  [mysql-nogtid]=2 [mysql-compressed]=3 [mysql-minimal]=4 [mysql-semisync]=5
  [mysql-smallpacket]=6 [mysql-scratch]=7 [mysql-tls]=8 [mysql-standby]=9 [mysql-leaf]=10
  [mariadb-primary]=20 [mariadb-replica]=21
  [mariadb-compressed]=22 [mariadb-minimal]=23 [mariadb-scratch]=24 [mariadb-standby]=25
  [mariadb-leaf]=26
)

names() { printf '%s\n' "${!OFFSET[@]}" | sort; }

# select_server NAME: sets the variables the functions below work on
select_server() {
  NAME=$1
  [ -n "${OFFSET[$NAME]:-}" ] || die "no server is called '$NAME'; there are: $(names | tr '\n' ' ')"
  FLAVOUR=${NAME%%-*}
  DIR=$RUN/$NAME
  DATA=$DIR/data
  LOG=$DIR/error.log
  PORT=$((BASE_PORT + OFFSET[$NAME]))
  SOCKET=$(socket_path "$DIR/sock")
  EXTERNAL=$(external_server)
}

# the server that NAME replicates from; nothing for one that is no replica
primary_of() {
  case $1 in
    *-replica) echo "${1%-replica}-primary" ;;
    *-standby) echo "${1%-standby}-scratch" ;;
    *-leaf) echo "${1%-leaf}-standby" ;;
  esac
}

# a path a Unix socket can have: at most about 100 characters
socket_path() {
  local path=$1 short
  if [ ${#path} -ge 100 ]; then
    short=${TMPDIR:-/tmp}/changeling-$(printf %s "$path" | cksum | cut -d ' ' -f 1)
    path=$short/sock
    [ ${#path} -lt 100 ] || die "the socket path $path is too long; set TMPDIR to a shorter folder"
  fi
  echo "$path"
}

# HOST:PORT:USER:PASSWORD of a server the user runs in place of NAME
external_server() {
  case $NAME in
    mysql-primary) echo "${CHANGELING_TEST_MYSQL:-}" ;;
    mysql-replica) echo "${CHANGELING_TEST_MYSQL_REPLICA:-}" ;;
    mariadb-primary) echo "${CHANGELING_TEST_MARIADB:-}" ;;
    mariadb-replica) echo "${CHANGELING_TEST_MARIADB_REPLICA:-}" ;;
  esac
}

# ---- where the programs come from ----------------------------------------------------

# find_programs FLAVOUR: sets SERVER and CLIENT (commands), BASE (the installation), TZINFO
find_programs() {
  local flavour=$1 named version program
  case $flavour in
    mysql) named=${CHANGELING_MYSQLD:-} version=${CHANGELING_MYSQL_VERSION:-} program=mysqld ;;
    mariadb) named=${CHANGELING_MARIADBD:-} version=${CHANGELING_MARIADB_VERSION:-} program=mariadbd ;;
  esac
  if [ -n "$named" ]; then
    [ -x "$named" ] || die "CHANGELING_${program^^} names $named, which is not a program"
    installed_programs "$flavour" "$named"
  elif [ -n "$version" ]; then
    archived_programs "$flavour" "$version"
  elif named=$(command -v $program) && is_flavour "$flavour" "$named"; then
    installed_programs "$flavour" "$named"
  elif [ -e "$CACHE/$flavour/.complete" ] || debian_possible; then
    archived_programs "$flavour" ""
  else
    die "no $program found: install MySQL 8 or later and MariaDB 10.11 or later, or name the programs in CHANGELING_MYSQLD and CHANGELING_MARIADBD, or use Docker with testenv/compose.yaml"
  fi
}

is_flavour() {
  case $("$2" --no-defaults --version 2>/dev/null) in
    *MariaDB*) [ "$1" = mariadb ] ;;
    *) [ "$1" = mysql ] ;;
  esac
}

installed_programs() {
  local flavour=$1 server
  server=$(readlink -f "$2")
  BASE=$(dirname "$(dirname "$server")")
  SERVER=("$server" --no-defaults --basedir="$BASE")
  CLIENT=("$(beside "$BASE" "$flavour")")
  TZINFO=("$(beside "$BASE" mariadb-tzinfo-to-sql mysql_tzinfo_to_sql)")
  [ -n "${CLIENT[0]}" ] || die "found $server but no client program '$flavour' beside it or on PATH"
  client_options
}

# the first of the programs that is in BASE/bin or on PATH
beside() {
  local base=$1 program; shift
  for program in "$@"; do
    if [ -x "$base/bin/$program" ]; then echo "$base/bin/$program"; return; fi
    command -v "$program" && return
  done
  echo ""
}

# archived_programs FLAVOUR VERSION: a distribution's programs run with the loader and
# libraries that came with them. No VERSION: the one tests are run with every day.
archived_programs() {
  local flavour=$1 version=$2 name=$1${2:+-$2} lib loader share program tzinfo
  BASE=$CACHE/$name/usr
  case $flavour in
    mysql) program=mysqld tzinfo=mysql_tzinfo_to_sql ;;
    mariadb) program=mariadbd tzinfo=mariadb-tzinfo-to-sql ;;
  esac
  case $name in
    mysql)
      debian_unpack $name "$(debian_sources sid)" "mysql-server-core mysql-client-core" "" ;;
    mysql-8.0)
      debian_unpack $name "$(ubuntu_sources noble noble-updates)" "mysql-server-core-8.0 mysql-client-core-8.0" "mysql-server-8.0" ;;
    mysql-8.4)
      debian_unpack $name "$(ubuntu_sources resolute)" "mysql-server-core mysql-client-core" "mysql-server" ;;
    mariadb)
      debian_unpack $name "$(debian_sources bookworm)" "mariadb-server-core mariadb-client-core" "mariadb-server mariadb-client" ;;
    mariadb-10.6)
      debian_unpack $name "$(ubuntu_sources jammy jammy-updates)" "mariadb-server-core-10.6 mariadb-client-core-10.6" "mariadb-server-10.6 mariadb-client-10.6" ;;
    mariadb-11.8)
      debian_unpack $name "$(debian_sources trixie)" "mariadb-server-core mariadb-client-core" "mariadb-server mariadb-client" ;;
    *) die "no archive is known for $flavour $version: there are mysql 8.0 and 8.4, mariadb 10.6 and 11.8" ;;
  esac
  lib=$(echo "$BASE"/lib/*-linux-gnu)
  loader=("$lib"/ld-linux-*.so.*)
  loader=("${loader[0]}" --library-path "$lib:$lib/private")
  share=$BASE/share/mysql
  SERVER=("${loader[@]}" "$BASE/sbin/$program" --no-defaults --basedir="$BASE"
    --lc-messages-dir="$share" --character-sets-dir="$share/charsets")
  [ "$flavour" = mariadb ] || SERVER+=(--plugin-dir="$BASE/lib/mysql/plugin")
  CLIENT=("${loader[@]}" "$BASE/bin/$flavour")
  TZINFO=("${loader[@]}" "$BASE/bin/$tzinfo")
  client_options
}

client_options() {
  local help
  help=$("${CLIENT[@]}" --no-defaults --help)
  CLIENT+=(--no-defaults --default-character-set=utf8mb4)
  # recent MySQL clients know \G only with this
  ! grep -qE '^ *--commands' <<<"$help" || CLIENT+=(--commands)
}

# ---- processes -----------------------------------------------------------------------

# with_lock FILE COMMAND…: one process at a time
with_lock() {
  local lock=$1 fd; shift
  exec {fd}>"$lock"
  flock "$fd"
  "$@"
  exec {fd}>&-
}

# launch LOG COMMAND…: a process that survives its caller and holds nothing of it; sets PID
launch() {
  local log=$1; shift
  (
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      [ "$fd" -le 2 ] || eval "exec $fd>&-"
    done
    cd /
    exec setsid "$@" </dev/null >>"$log" 2>&1
  ) &
  PID=$!
}

# is_server PID DATA: the process exists and works on that data directory
is_server() { [ -n "$1" ] && cat "/proc/$1/cmdline" 2>/dev/null | grep -qzxF -e "--datadir=$2"; }

# gone PID: it holds no file and no port any more; a zombie nobody reaps is gone too
gone() {
  [ -d "/proc/$1" ] || return 0
  local tasks=(/proc/"$1"/task/*)
  [ ${#tasks[@]} = 1 ] && grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null
}

# the pid of the selected server, or nothing
running_pid() {
  local pid
  pid=$(cat "$DIR/pid" 2>/dev/null) && is_server "$pid" "$DATA" && echo "$pid" || true
}

# stop_server PID [SIGNAL]
stop_server() {
  local pid=$1 signal=${2:-TERM} end=$((SECONDS + DEADLINE))
  kill -"$signal" "$pid" 2>/dev/null || true
  until gone "$pid"; do
    [ $SECONDS -lt $end ] || { say "process $pid does not stop, killing it"; kill -KILL "$pid" || true; end=$((SECONDS + DEADLINE)); }
    sleep 0.05
  done
}

# as_root SOCKET [ARGUMENT…]: the client, as root over the socket
as_root() {
  local socket=$1; shift
  "${CLIENT[@]}" --user=root --socket="$socket" "$@"
}

# wait_ready PID SOCKET LOG
wait_ready() {
  local pid=$1 socket=$2 log=$3 end=$((SECONDS + DEADLINE))
  while ! { [ -S "$socket" ] && as_root "$socket" -e 'DO 1' >/dev/null 2>&1; }; do
    if gone "$pid" || [ $SECONDS -ge $end ]; then
      tail -n 20 "$log" >&2
      kill -KILL "$pid" 2>/dev/null || true
      die "the server did not start; above is the end of $log"
    fi
    sleep 0.1
  done
}

# what every server gets, the template included; sets COMMON
common_options() {
  COMMON=(--datadir="$1" --socket="$2" --pid-file="$1/server.pid" --tmpdir="$3"
    --secure-file-priv= --skip-name-resolve)
  [ "$(id -u)" != 0 ] || COMMON+=(--user=root)
  [ "$4" != mysql ] || COMMON+=(--loose-mysqlx=OFF)
}

# ---- the template: one initialised data directory per flavour and version -------------

# sets TEMPLATE, building it if it is not there
find_template() {
  local version
  version=$("${SERVER[@]}" --version)
  TEMPLATE=$CACHE/template-$FLAVOUR-$(printf %s "$version, revision 1" | cksum | cut -d ' ' -f 1)
  [ -d "$TEMPLATE" ] || with_lock "$CACHE/.lock-template-$FLAVOUR" build_template
}

build_template() {
  [ ! -d "$TEMPLATE" ] || return 0
  say "preparing a $FLAVOUR data directory (once)"
  local work=$TEMPLATE.building log=$CACHE/template-$FLAVOUR.log socket COMMON PID
  rm -rf "$work"
  mkdir -p "$work/data" "$work/tmp"
  : >"$log"
  socket=$(socket_path "$work/sock")
  common_options "$work/data" "$socket" "$work/tmp" "$FLAVOUR"
  if ! "initialise_$FLAVOUR" >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "could not initialise a $FLAVOUR data directory; above is the end of $log"
  fi
  mkdir -p -m 700 "${socket%/*}"
  launch "$log" "${SERVER[@]}" "${COMMON[@]}" --skip-networking --skip-log-bin "${SMALL_LOG[@]}"
  wait_ready "$PID" "$socket" "$log"
  if ! template_sql | as_root "$socket" mysql >>"$log" 2>&1; then
    stop_server "$PID" KILL
    tail -n 20 "$log" >&2
    die "could not set up the $FLAVOUR data directory; above is the end of $log"
  fi
  stop_server "$PID"
  remove_socket "$socket"
  rm -f "$work"/data/{auto.cnf,server.pid}
  mv "$work/data" "$TEMPLATE"
  rm -rf "$work"
}

initialise_mysql() {
  SMALL_LOG=(--loose-innodb-redo-log-capacity=8M)
  "${SERVER[@]}" "${COMMON[@]}" "${SMALL_LOG[@]}" --initialize-insecure
}

initialise_mariadb() {
  SMALL_LOG=(--innodb-log-file-size=4M)
  mkdir "$work/data/mysql"
  bootstrap_sql | "${SERVER[@]}" "${COMMON[@]}" "${SMALL_LOG[@]}" --bootstrap --skip-log-bin --max-allowed-packet=8M
}

bootstrap_sql() {
  local share sql
  for share in "$BASE"/share/{mysql,mariadb,}; do
    ! ls "$share"/*_system_tables.sql >/dev/null 2>&1 || break
  done
  printf "%s;\n" "USE mysql" "SET @auth_root_socket=NULL" # one statement a line
  for sql in "$share"/*_{system_tables,performance_tables,system_tables_data}.sql \
    "$share"/maria_add_gis_sp_bootstrap.sql "$share"/*_sys_schema.sql; do
    cat "$sql"
  done
}

template_sql() {
  cat <<SQL
CREATE USER '$USER_NAME'@'%' IDENTIFIED BY '$PASSWORD';
GRANT ALL PRIVILEGES ON *.* TO '$USER_NAME'@'%' WITH GRANT OPTION;
SQL
  [ "$FLAVOUR" = mysql ] || echo "DELETE FROM global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost'); FLUSH PRIVILEGES;"
  if [ -d /usr/share/zoneinfo ] && [ -n "${TZINFO[0]}" ]; then
    "${TZINFO[@]}" /usr/share/zoneinfo 2>/dev/null
  fi
}

# ---- one server ----------------------------------------------------------------------

# the options of the selected server; sets OPTIONS
server_options() {
  # seventeen logs of the size that a measured server has would fill a small disk
  local pool=128M redo=64M
  case $NAME in
    *-primary) pool=256M redo=512M ;;
    *-replica) redo=512M ;;
  esac
  common_options "$DATA" "$SOCKET" "$DIR/tmp" "$FLAVOUR"
  OPTIONS=("${COMMON[@]}" --bind-address=127.0.0.1 --port="$PORT"
    --server-id=$((100 + OFFSET[$NAME])) --report-host=127.0.0.1 --report-port="$PORT"
    --log-bin="$DATA/binlog" --loose-binlog-format=ROW --sync-binlog=1
    --innodb-flush-log-at-trx-commit=1 --innodb-buffer-pool-size=$pool --max-connections=300)
  case $FLAVOUR in
    mysql) OPTIONS+=(--loose-innodb-redo-log-capacity=$redo --performance-schema=ON) ;;
    mariadb) OPTIONS+=(--innodb-log-file-size=$redo) ;;
  esac
  case $NAME in
    mysql-nogtid) OPTIONS+=(--gtid-mode=OFF --enforce-gtid-consistency=OFF) ;;
    mysql-*) OPTIONS+=(--gtid-mode=ON --enforce-gtid-consistency=ON) ;;
  esac
  case $NAME in
    mysql-compressed) OPTIONS+=(--binlog-transaction-compression=ON) ;;
    mysql-minimal | mariadb-minimal) OPTIONS+=(--binlog-row-image=MINIMAL) ;;
    mysql-semisync) OPTIONS+=(--plugin-load-add=semisync_source.so
      --loose-rpl-semi-sync-source-enabled=OFF --loose-rpl-semi-sync-source-wait-point=AFTER_SYNC) ;;
    mysql-smallpacket) OPTIONS+=(--max-allowed-packet=1M) ;;
    mysql-tls) OPTIONS+=(--require-secure-transport=ON) ;;
    mariadb-compressed) OPTIONS+=(--log-bin-compress=ON) ;;
    mariadb-replica | mariadb-standby) OPTIONS+=(--log-slave-updates) ;;
  esac
}

start() {
  local COMMON OPTIONS TEMPLATE PID began=${EPOCHREALTIME/./}
  PID=$(running_pid)
  if [ -n "$PID" ]; then
    wait_ready "$PID" "$SOCKET" "$LOG"
    return
  fi
  if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
    die "port $PORT for $NAME is taken by another process; set CHANGELING_TESTENV_PORT (now $BASE_PORT) to the first of 30 free ports"
  fi
  if [ ! -d "$DATA" ]; then
    need_room "$RUN" 1
    find_template
    rm -rf "$DATA.copying"
    cp -a --reflink=auto "$TEMPLATE" "$DATA.copying"
    mv "$DATA.copying" "$DATA"
  fi
  mkdir -p "$DIR/tmp"
  mkdir -p -m 700 "${SOCKET%/*}"
  rm -f "$SOCKET" "$SOCKET.lock"
  server_options
  launch "$LOG" "${SERVER[@]}" "${OPTIONS[@]}"
  echo "$PID" >"$DIR/pid"
  echo "$PORT" >"$DIR/port"
  wait_ready "$PID" "$SOCKET" "$LOG"
  say "$NAME is ready on port $PORT ($(((${EPOCHREALTIME/./} - began) / 1000)) ms)"
}

# the selected server, a replica, follows its primary
follow() {
  local end=$((SECONDS + DEADLINE)) status primary=$((PORT - OFFSET[$NAME] + OFFSET[$(primary_of "$NAME")]))
  status=$(as_root "$SOCKET" -E -e 'SHOW REPLICA STATUS')
  if [ -z "$status" ]; then
    case $FLAVOUR in
      mysql) as_root "$SOCKET" -e "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=$primary,
        SOURCE_USER='$USER_NAME', SOURCE_PASSWORD='$PASSWORD', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1,
        SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=86400" ;;
      mariadb) as_root "$SOCKET" -e "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=$primary,
        MASTER_USER='$USER_NAME', MASTER_PASSWORD='$PASSWORD', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1" ;;
    esac
  fi
  until [ "$(grep -cE '_(IO|SQL)_Running: Yes' <<<"$status")" = 2 ]; do
    if [ $SECONDS -ge $end ] || grep -qE 'Last_SQL_Errno: [1-9]' <<<"$status"; then
      grep -E '_Running:|Last_.*Error: .' <<<"$status" >&2 || true
      die "$NAME does not replicate; 'testenv/fresh $NAME' builds it anew"
    fi
    ! grep -q '_Running: No' <<<"${status:-_Running: No}" || as_root "$SOCKET" -e 'START REPLICA' 2>/dev/null || true
    sleep 0.1
    status=$(as_root "$SOCKET" -E -e 'SHOW REPLICA STATUS')
  done
}

# up_server NAME
up_server() {
  select_server "$1"
  if [ -n "$EXTERNAL" ]; then
    (exec 3<>"/dev/tcp/$(cut -d : -f 1,2 --output-delimiter=/ <<<"$EXTERNAL")") 2>/dev/null ||
      die "no answer from the server named for $NAME"
    return
  fi
  find_programs "$FLAVOUR"
  mkdir -p "$DIR"
  with_lock "$RUN/.lock-$NAME" start
  if [ -n "$(primary_of "$NAME")" ]; then
    (up_server "$(primary_of "$NAME")")
    with_lock "$RUN/.lock-$NAME" follow
  fi
}

# down_server NAME [SIGNAL]
down_server() {
  select_server "$1"
  [ -z "$EXTERNAL" ] && [ -d "$DIR" ] || return 0
  with_lock "$RUN/.lock-$NAME" down_locked "${2:-TERM}"
}

down_locked() {
  local pid
  pid=$(running_pid)
  if [ -n "$pid" ]; then
    [ "$1" != TERM ] || end_binlog_readers || true
    stop_server "$pid" "$1"
  fi
  rm -f "$DIR/pid"
  remove_socket "$SOCKET"
}

# what a killed server leaves, and the folder made for a short path
remove_socket() {
  rm -f "$1" "$1.lock"
  rmdir "${1%/*}" 2>/dev/null || true
}

# MySQL waits ten seconds at shutdown for binlog readers, even for those whose client has gone
end_binlog_readers() {
  [ "$FLAVOUR" = mysql ] || return 0
  find_programs mysql
  as_root "$SOCKET" -BNe "SELECT CONCAT('KILL ', processlist_id, ';') FROM performance_schema.threads
    WHERE processlist_command LIKE 'Binlog Dump%'" | as_root "$SOCKET"
}

# each COMMAND NAME…: in parallel; fails if one fails
each() {
  local command=$1 name pid failed=0 pids=(); shift
  for name in "$@"; do "$command" "$name" & pids+=($!); done
  for pid in ${pids[@]+"${pids[@]}"}; do wait "$pid" || failed=1; done
  return $failed
}

# the client for a server the user runs
external_client() {
  local host port user password
  IFS=: read -r host port user password <<<"$EXTERNAL"
  MYSQL_PWD=$password "${CLIENT[@]}" --protocol=tcp --host="$host" --port="$port" --user="$user" "$@"
}

. "$HERE/debian.sh"
