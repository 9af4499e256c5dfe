//! The spelling of the settings' choices.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::settings::{
    BinlogFrom, CopySetting, DeferIndexes, KillBlockers, NativeSetting, ReplaySetting,
    ResumeSetting, Triggers, VerifySetting,
};

macro_rules! spelled {
    ($type:ty { $($variant:ident = $name:literal: $help:literal),+ $(,)? }) => {
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(<$type>::$variant),+]
            }
            fn to_possible_value(&self) -> Option<PossibleValue> {
                Some(match self {
                    $(<$type>::$variant => PossibleValue::new($name).help($help)),+
                })
            }
        }
    };
}

spelled!(CopySetting {
    Auto = "auto": "without locks where that is proven right, locking elsewhere",
    Locking = "locking": "with shared row locks on each chunk",
    LockFree = "lock-free": "without locks; refused where it cannot be proven right",
});
spelled!(ReplaySetting {
    Auto = "auto": "from the binlog where that is exact, from the original elsewhere",
    Image = "image": "from the binlog; refused where that is not exact",
    Reread = "reread": "from the original",
});
spelled!(DeferIndexes {
    Auto = "auto": "on where no replica is held up by the build",
    On = "on": "build them after the copy",
    Off = "off": "build them with the table",
});
spelled!(VerifySetting {
    After = "after": "after the copy",
    During = "during": "behind the copy, while it goes on",
    Off = "off": "not, but for chunks in which the copy met a conflict",
});
spelled!(ResumeSetting {
    Auto = "auto": "go on if there is something to go on with",
    Require = "require": "go on, or fail",
    Repair = "repair": "go on, or fail; where the binlog since then was purged, compare all rows and copy those again that differ",
    Restart = "restart": "remove what is left and begin anew",
});
spelled!(BinlogFrom {
    Primary = "primary": "the primary's",
    Here = "here": "that of the replica that is connected to; the copy takes row locks then",
});
spelled!(KillBlockers {
    Never = "never": "nobody",
    Idle = "idle": "sessions that hold the table and run nothing",
    All = "all": "all sessions that hold the table",
});
spelled!(Triggers {
    Refuse = "refuse": "a table with triggers is refused",
    Recreate = "recreate": "they are recreated within the swap",
});
spelled!(NativeSetting {
    Auto = "auto": "where it takes a moment on every server and throws no values away",
    Instant = "instant": "ALGORITHM=INSTANT wherever the server offers it, dropped columns included",
    Never = "never": "always by the ghost table, which leaves the old table to go back to",
});
