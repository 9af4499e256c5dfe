use proptest::prelude::*;

use super::*;
use crate::schema::table::IndexKind;

fn kinds(text: &str) -> Vec<ClauseKind> {
    let parsed = AlterStatement::parse(text).unwrap();
    parsed
        .clauses
        .into_iter()
        .map(|clause| clause.kind)
        .collect()
}

fn texts(text: &str) -> Vec<String> {
    let parsed = AlterStatement::parse(text).unwrap();
    parsed
        .clauses
        .into_iter()
        .map(|clause| clause.text)
        .collect()
}

fn name(text: &str) -> String {
    text.to_string()
}

#[test]
fn clauses_are_recognised() {
    use ClauseKind::*;
    let column = |text: &str| AddColumn { name: name(text) };
    let change = |old: &str, new: &str| Change {
        old: name(old),
        new: name(new),
    };
    let index = |index_name: Option<&str>, unique, kind| AddIndex {
        name: index_name.map(str::to_string),
        unique,
        kind,
    };
    let cases: Vec<(&str, ClauseKind)> = vec![
        ("ADD COLUMN a INT DEFAULT '1,2' AFTER b", column("a")),
        ("add a decimal(10,2)", column("a")),
        ("ADD COLUMN IF NOT EXISTS `x``y` INT", column("x`y")),
        ("ADD vector INT", column("vector")),
        ("ADD period INT", column("period")),
        ("ADD system VARCHAR(9)", column("system")),
        ("DROP a", DropColumn { name: name("a") }),
        (
            "DROP COLUMN IF EXISTS `a b`",
            DropColumn { name: name("a b") },
        ),
        ("CHANGE a b INT", change("a", "b")),
        ("CHANGE COLUMN `a` \"b\" INT", change("a", "b")),
        ("change t.a b int", change("a", "b")),
        ("MODIFY a INT /* , */ NOT NULL", Modify { name: name("a") }),
        (
            "RENAME COLUMN a TO b",
            RenameColumn {
                old: name("a"),
                new: name("b"),
            },
        ),
        (
            "RENAME KEY a TO b",
            RenameIndex {
                old: name("a"),
                new: name("b"),
            },
        ),
        (
            "RENAME TO d.t2",
            RenameTable {
                schema: Some(name("d")),
                table: name("t2"),
            },
        ),
        (
            "RENAME t2",
            RenameTable {
                schema: None,
                table: name("t2"),
            },
        ),
        (
            "ALTER a SET DEFAULT (UUID())",
            AlterColumn { name: name("a") },
        ),
        (
            "ALTER COLUMN a DROP DEFAULT",
            AlterColumn { name: name("a") },
        ),
        ("ALTER INDEX i INVISIBLE", AlterIndex { name: name("i") }),
        (
            "ALTER CHECK c NOT ENFORCED",
            AlterConstraint { name: name("c") },
        ),
        ("ADD INDEX (a)", index(None, false, IndexKind::Btree)),
        (
            "ADD KEY i (a(5) DESC)",
            index(Some("i"), false, IndexKind::Btree),
        ),
        (
            "ADD INDEX USING BTREE (a)",
            index(None, false, IndexKind::Btree),
        ),
        ("ADD UNIQUE (a, b)", index(None, true, IndexKind::Btree)),
        (
            "ADD UNIQUE KEY u (a)",
            index(Some("u"), true, IndexKind::Btree),
        ),
        (
            "ADD CONSTRAINT c UNIQUE (a)",
            index(Some("c"), true, IndexKind::Btree),
        ),
        (
            "ADD FULLTEXT INDEX f (a) WITH PARSER ngram",
            index(Some("f"), false, IndexKind::Fulltext),
        ),
        (
            "ADD SPATIAL s (a)",
            index(Some("s"), false, IndexKind::Spatial),
        ),
        (
            "ADD VECTOR INDEX v (a)",
            index(Some("v"), false, IndexKind::Other),
        ),
        ("ADD PRIMARY KEY (a)", AddPrimaryKey),
        ("ADD CONSTRAINT PRIMARY KEY (a)", AddPrimaryKey),
        ("DROP PRIMARY KEY", DropPrimaryKey),
        ("DROP INDEX i", DropIndex { name: name("i") }),
        (
            "ADD CONSTRAINT `c` FOREIGN KEY i (a) REFERENCES p (id)",
            AddForeignKey {
                name: Some(name("c")),
            },
        ),
        (
            "ADD FOREIGN KEY (a) REFERENCES p (id)",
            AddForeignKey { name: None },
        ),
        ("DROP FOREIGN KEY c", DropForeignKey { name: name("c") }),
        (
            "ADD CONSTRAINT c CHECK (a > 0)",
            AddCheck {
                name: Some(name("c")),
            },
        ),
        ("DROP CHECK c", DropConstraint { name: name("c") }),
        (
            "CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            ConvertCharset,
        ),
        ("ORDER BY a DESC, b", OrderBy),
        ("FORCE", Force),
        ("ALGORITHM=inplace", Algorithm(name("INPLACE"))),
        ("LOCK none", Lock(name("NONE"))),
        ("PARTITION BY HASH (id) PARTITIONS 4", PartitionBy),
        ("REMOVE PARTITIONING", RemovePartitioning),
        (
            "DROP PARTITION p0, p1",
            PartitionOperation { verb: name("DROP") },
        ),
        (
            "REORGANIZE PARTITION p0, p1 INTO (PARTITION p VALUES LESS THAN (9))",
            PartitionOperation {
                verb: name("REORGANIZE"),
            },
        ),
        (
            "CONVERT PARTITION p TO TABLE d.x",
            PartitionOperation {
                verb: name("CONVERT"),
            },
        ),
        ("DISABLE KEYS", Keys),
        ("WITHOUT VALIDATION", Validation),
        ("IMPORT TABLESPACE", Tablespace),
        ("ADD SYSTEM VERSIONING", Versioning),
        ("DROP PERIOD FOR SYSTEM_TIME", Versioning),
        (
            "ADD (a INT, UNIQUE KEY u (a), `key` INT)",
            AddSeveral(vec![
                column("a"),
                index(Some("u"), true, IndexKind::Btree),
                column("key"),
            ]),
        ),
        ("SECONDARY_LOAD", Other),
    ];
    for (text, expected) in cases {
        assert_eq!(kinds(text), [expected], "{text}");
    }
}

#[test]
fn options_are_read_and_a_forgotten_comma_is_not() {
    let options = |pairs: &[(&str, &str)]| {
        ClauseKind::TableOptions(
            pairs
                .iter()
                .map(|(option, value)| (name(option), name(value)))
                .collect(),
        )
    };
    for (text, expected) in [
        (
            "ENGINE=InnoDB row_format dynamic COMMENT = 'a, b'",
            options(&[
                ("ENGINE", "InnoDB"),
                ("ROW_FORMAT", "dynamic"),
                ("COMMENT", "'a, b'"),
            ]),
        ),
        (
            "DEFAULT CHARACTER SET utf8mb4 COLLATE=utf8mb4_bin",
            options(&[("CHARSET", "utf8mb4"), ("COLLATE", "utf8mb4_bin")]),
        ),
        ("`PAGE_COMPRESSED`=1", options(&[("PAGE_COMPRESSED", "1")])),
        ("AUTO_INCREMENT 7", options(&[("AUTO_INCREMENT", "7")])),
        ("UNION=(a,b)", options(&[("UNION", "( a , b )")])),
        (
            "DATA DIRECTORY '/x'",
            options(&[("DATA DIRECTORY", "'/x'")]),
        ),
        ("ENGINE=InnoDB RENAME COLUMN a TO b", ClauseKind::Other),
        ("COMMENT='x' DROP COLUMN a", ClauseKind::Other),
    ] {
        assert_eq!(kinds(text), [expected], "{text}");
    }
}

#[test]
fn statements_are_split_where_the_server_splits_them() {
    let whole = "/* why */ ALTER ONLINE TABLE IF EXISTS `d`.t WAIT 5 -- now\n \
                 ADD a ENUM('x,y', 'z)') /*!80013 INVISIBLE */ , DROP b /* , */ \
                 PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (1), PARTITION q VALUES LESS THAN (2)) ; ";
    let parsed = AlterStatement::parse(whole).unwrap();
    assert_eq!(parsed.table, Some((Some(name("d")), name("t"))));
    let expected = [
        "ADD a ENUM('x,y', 'z)') /*!80013 INVISIBLE */",
        "DROP b",
        "PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (1), PARTITION q VALUES LESS THAN (2))",
    ];
    assert_eq!(texts(whole), expected);
    assert_eq!(
        parsed.to_string(),
        format!(
            "ALTER TABLE `d`.`t` {}, {} {}",
            expected[0], expected[1], expected[2]
        )
    );
    assert_eq!(
        texts("ORDER BY a, b DESC, ADD c INT"),
        ["ORDER BY a, b DESC", "ADD c INT"]
    );
    assert_eq!(texts("ALTER TABLE t FORCE"), ["FORCE"]);
    assert_eq!(
        texts("ALTER COLUMN c SET DEFAULT 1, ALTER d DROP DEFAULT"),
        ["ALTER COLUMN c SET DEFAULT 1", "ALTER d DROP DEFAULT"]
    );
}

#[test]
fn what_would_be_misunderstood_is_refused() {
    for (text, why) in [
        ("", "it is empty"),
        ("-- nothing", "it is empty"),
        ("ALTER TABLE t", "it changes nothing"),
        ("ADD a INT,", "it has an empty clause"),
        ("ADD a INT,,DROP b", "it has an empty clause"),
        ("ADD a INT; DROP TABLE t", "it has more than one statement"),
        ("ADD a INT COMMENT 'x", "not closed"),
        ("ADD a INT /* x", "not closed"),
        ("ADD a ENUM('x'", "not closed"),
        ("ADD a INT)", "not opened"),
        ("/*!80000 ADD a INT, */ DROP b", "several clauses"),
        ("ALTER TABLE", "name is missing"),
        ("--#", "ends in `--`"),
        ("DROP a --#\n PARTITION BY HASH (b)", "ends in `--`"),
    ] {
        let failure = AlterStatement::parse(text).unwrap_err();
        assert!(failure.cause().contains(why), "{text}: {failure}");
        assert!(failure.remedy_text().is_some());
    }
}

#[test]
fn algorithm_and_lock_are_left_out_for_the_ghost() {
    let table = TableName::new("d", "g");
    let sql = |text: &str| AlterStatement::parse(text).unwrap().sql_for(&table);
    assert_eq!(
        sql("ALGORITHM=INPLACE, ADD a INT, LOCK=NONE, DROP b").as_deref(),
        Some("/* changeling */ ALTER TABLE `d`.`g` ADD a INT, DROP b")
    );
    assert_eq!(sql("ALGORITHM=INSTANT"), None);
    let with = |text: &str| {
        let parsed = AlterStatement::parse(text).unwrap();
        parsed.sql_with(&table, "ALGORITHM=COPY").unwrap()
    };
    assert_eq!(
        with("ADD a INT, LOCK=NONE PARTITION BY HASH (a)"),
        "/* changeling */ ALTER TABLE `d`.`g` ALGORITHM=COPY, ADD a INT PARTITION BY HASH (a)"
    );
    assert_eq!(
        with("PARTITION BY HASH (a)"),
        "/* changeling */ ALTER TABLE `d`.`g` ALGORITHM=COPY PARTITION BY HASH (a)"
    );
}

#[test]
fn column_moves_are_those_of_all_clauses() {
    let moves =
        AlterStatement::parse("CHANGE a b INT, RENAME COLUMN b TO a, DROP c, ADD (c INT, KEY (c))")
            .unwrap()
            .column_moves();
    assert_eq!(
        moves.renamed,
        [(name("a"), name("b")), (name("b"), name("a"))]
    );
    assert_eq!(moves.dropped, [name("c")]);
    assert_eq!(moves.added, [name("c")]);
}

/// Clauses with everything in them that could confuse a splitter.
fn a_clause() -> impl Strategy<Value = String> {
    let column = "(`[a-z`(),;'#-]{1,8}`|[a-z][a-z0-9_$]{0,6}x)".prop_map(|text| {
        match text
            .strip_prefix('`')
            .and_then(|rest| rest.strip_suffix('`'))
        {
            Some(inner) => format!("`{}`", inner.replace('`', "``")),
            None => text,
        }
    });
    let string = "[a-z,;()`\"#*/ -]{0,10}".prop_map(|text| format!("'{text}'"));
    (column, string, 0usize..10).prop_map(|(column, string, which)| match which {
        0 => format!("ADD COLUMN {column} VARCHAR(9) DEFAULT {string}"),
        1 => format!("drop column {column}"),
        2 => format!("CHANGE {column} c2 ENUM({string}, 'b''c\\'d') COMMENT {string}"),
        3 => format!("ADD UNIQUE KEY {column} ({column}, ((a + 1)))"),
        4 => format!("COMMENT = {string} ENGINE=InnoDB"),
        5 => format!("ADD ({column} INT CHECK ({column} in (1,2)), KEY ({column}))"),
        6 => format!("RENAME COLUMN {column} TO \"d,e\""),
        7 => format!("ORDER BY {column}, b DESC"),
        8 => format!("MODIFY {column} INT /*!80013 INVISIBLE */ COMMENT {string}"),
        _ => "ALGORITHM=COPY".to_string(),
    })
}

/// What may stand between clauses.
fn a_separator() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(",".to_string()),
        Just(" , ".to_string()),
        Just(" /* , */,\n".to_string()),
        Just(", -- , it's\n".to_string()),
        Just(",#)\n\t".to_string()),
    ]
}

const WORDS: [&str; 48] = [
    "ADD",
    "COLUMN",
    "DROP",
    "CHANGE",
    "MODIFY",
    "RENAME",
    "TO",
    "ALTER",
    "TABLE",
    "t",
    "a",
    "`b c`",
    "'x,y'",
    "INT",
    "ENUM",
    "(",
    ")",
    "(",
    ")",
    ",",
    ",",
    ",",
    "=",
    "ENGINE",
    "InnoDB",
    "COMMENT",
    "PARTITION",
    "BY",
    "HASH",
    "REMOVE",
    "PARTITIONING",
    "ORDER",
    "FORCE",
    "INDEX",
    "KEY",
    "UNIQUE",
    "PRIMARY",
    "FOREIGN",
    "CHECK",
    "CONSTRAINT",
    "IF",
    "EXISTS",
    "AFTER",
    "FIRST",
    "ALGORITHM",
    "COPY",
    "/*!50100",
    "*/",
];

/// What a text says, without comments.
fn plain_tokens(text: &str) -> Vec<String> {
    tokens(text, Dialect::default())
        .into_iter()
        .filter(|token| !token.is_comment())
        .map(|token| token.text.to_string())
        .collect()
}

proptest! {
    #[test]
    fn no_clause_is_lost(
        clauses in prop::collection::vec((a_clause(), a_separator()), 1..7),
        whole in any::<bool>(),
        partitioning in prop::option::of(prop_oneof![
            Just("PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (1), PARTITION q VALUES LESS THAN (2))"),
            Just("/* ( */ partition by hash (`a,b`) PARTITIONS 4"),
            Just("REMOVE PARTITIONING"),
        ]),
    ) {
        let mut text = if whole { "ALTER TABLE d.`t x` ".to_string() } else { String::new() };
        for (index, (clause, separator)) in clauses.iter().enumerate() {
            text.push_str(clause);
            if index + 1 < clauses.len() {
                text.push_str(separator);
            }
        }
        if let Some(last) = partitioning {
            text.push_str(&format!(" {last}"));
        }
        let parsed = AlterStatement::parse(&text).unwrap();
        let found: Vec<&str> = parsed.clauses.iter().map(|clause| clause.text.as_str()).collect();
        let last = partitioning.map(|last| last.trim_start_matches("/* ( */ "));
        let expected: Vec<&str> = clauses.iter().map(|(clause, _)| clause.as_str()).chain(last).collect();
        prop_assert_eq!(found, expected);
        prop_assert!(!parsed.clauses.iter().any(|clause| clause.kind == ClauseKind::Other));
        let printed = parsed.to_string();
        prop_assert_eq!(AlterStatement::parse(&printed).unwrap(), parsed);
    }

    #[test]
    fn whatever_parses_prints_the_same(text in "(ALTER TABLE [a-z]{1,2} )?[-A-Za-z'`\"#/*!(),=. \n]{0,60}") {
        if let Ok(parsed) = AlterStatement::parse(&text) {
            prop_assert_eq!(AlterStatement::parse(&parsed.to_string()).unwrap(), parsed);
        }
    }

    /// Words of the grammar in any order: what is read keeps every word, in its order.
    #[test]
    fn no_word_is_lost(words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 1..16)) {
        let text = words.join(" ");
        if let Ok(parsed) = AlterStatement::parse(&text) {
            let mut found: Vec<String> = Vec::new();
            for clause in &parsed.clauses {
                if clause.comma_before {
                    found.push(",".to_string());
                }
                found.extend(plain_tokens(&clause.text));
            }
            let all = plain_tokens(&text);
            // What stands before the clauses is the header.
            prop_assert!(all.ends_with(&found), "{:?} of {:?}", found, all);
            let header = all.len() - found.len();
            prop_assert!(header == 0 || parsed.table.is_some(), "{:?} of {:?}", found, all);
            prop_assert_eq!(AlterStatement::parse(&parsed.to_string()).unwrap(), parsed);
        }
    }

    #[test]
    fn nothing_panics(text in any::<String>()) {
        let _ = AlterStatement::parse(&text);
        let _ = AlterStatement::parse(&format!("ALTER TABLE {text}"));
    }
}
