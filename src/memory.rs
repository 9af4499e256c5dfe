//! Keeps what the process takes from the system near what it uses.

/// Of each buffer that the driver keeps for reuse, at most so many bytes.
const DRIVER_BUFFER_BYTES_MAX: &str = "65536";
/// Heaps that threads allocate from. The default, eight a core, leaves each of them with the most that any
/// thread ever needed.
#[cfg(target_env = "gnu")]
const ARENAS_MAX: libc::c_int = 2;

/// Sets both bounds. To be called before any thread is started and before the driver is used.
///
/// The driver keeps up to 128 buffers of up to 4 MiB each, and large packets come into one after the other
/// (`mysql_async` 0.37, `buffer_pool.rs`): with the binlog of a compressed copy the program took 82 MiB, and
/// takes 36 with this. A backlog of 64 MiB took 150 MiB in all, and 120 with few arenas. What the operator has
/// set in the environment stays.
pub fn bound() {
    const NAME: &str = "MYSQL_ASYNC_BUFFER_SIZE_CAP";
    if std::env::var_os(NAME).is_none() {
        #[expect(unsafe_code, reason = "the driver takes it from the environment only")]
        // SAFETY: no other thread runs that could read the environment meanwhile.
        unsafe {
            std::env::set_var(NAME, DRIVER_BUFFER_BYTES_MAX);
        }
    }
    #[cfg(target_env = "gnu")]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        #[expect(unsafe_code, reason = "the C library's allocator is told by a call")]
        // SAFETY: it takes two numbers; the second is in the range that mallopt(3) names. A refusal changes
        // nothing.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX);
        }
    }
}
