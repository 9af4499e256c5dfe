use super::*;
use crate::schema::column_map::ColumnMoves;
use crate::schema::table::IndexColumn;

/// A column from `name type`, NOT NULL unless the type ends in `?`.
fn column(position: usize, text: &str) -> Column {
    let (name, column_type) = text.split_once(' ').unwrap();
    let nullable = column_type.ends_with('?');
    let column_type = column_type.trim_end_matches('?');
    let end = column_type.find(['(', ' ']).unwrap_or(column_type.len());
    let data_type = column_type[..end].to_string();
    let is_text = matches!(data_type.as_str(), "char" | "varchar");
    let length = column_type[end..]
        .trim_matches(['(', ')'])
        .parse()
        .ok()
        .filter(|_| is_text || data_type.ends_with("binary"));
    Column {
        name: name.to_string(),
        position,
        column_type: column_type.to_string(),
        nullable,
        charset: is_text.then(|| "utf8mb4".to_string()),
        collation: is_text.then(|| "utf8mb4_0900_ai_ci".to_string()),
        octet_length: length,
        data_type,
        ..Column::default()
    }
}

/// A unique index from `NAME a b(5) -c`.
fn index(text: &str) -> Index {
    let mut words = text.split(' ');
    Index {
        name: words.next().unwrap().to_string(),
        unique: true,
        kind: IndexKind::Btree,
        visible: true,
        columns: words
            .map(|word| {
                let (name, prefix) = word.split_once('(').unwrap_or((word, ""));
                IndexColumn {
                    column: Some(name.trim_start_matches('-').to_string()),
                    expression: None,
                    prefix: prefix.trim_end_matches(')').parse().ok(),
                    descending: word.starts_with('-'),
                }
            })
            .collect(),
    }
}

fn table(columns: &[&str], indexes: &[&str]) -> TableDefinition {
    TableDefinition {
        columns: columns
            .iter()
            .enumerate()
            .map(|(position, text)| column(position, text))
            .collect(),
        indexes: indexes.iter().map(|text| index(text)).collect(),
        ..TableDefinition::default()
    }
}

fn choose(
    original: &TableDefinition,
    ghost: &TableDefinition,
    renamed: &[(&str, &str)],
) -> std::result::Result<MigrationKey, Vec<String>> {
    let moves = ColumnMoves {
        renamed: renamed
            .iter()
            .map(|(old, new)| (old.to_string(), new.to_string()))
            .collect(),
        ..ColumnMoves::default()
    };
    let map = ColumnMap::build(original, ghost, &moves).unwrap();
    MigrationKey::choose(original, ghost, &map)
}

#[test]
fn primary_goes_before_smaller_ones() {
    let both = table(
        &["id varbinary(100)", "a int"],
        &["PRIMARY id", "u a", "w id a"],
    );
    let key = choose(&both, &both, &[]).unwrap();
    assert_eq!(key.source_index, "PRIMARY");
    let without = table(&["id varbinary(100)", "a int"], &["w id a", "u a"]);
    assert_eq!(choose(&both, &without, &[]).unwrap().source_index, "u");
}

#[test]
fn the_ghosts_key_may_have_another_order_and_other_names() {
    let original = table(&["a int", "b int"], &["PRIMARY a -b"]);
    let ghost = table(&["x int", "b int"], &["other b x"]);
    let key = choose(&original, &ghost, &[("a", "x")]).unwrap();
    assert_eq!(key.target_index, "other");
    assert_eq!(key.descending(), [false, true]);
    assert_eq!(key.columns[0].target.name, "x");
}

#[test]
fn every_candidate_says_why_not() {
    let original = table(
        &[
            "id int",
            "n int?",
            "f double",
            "s varchar(9)",
            "e enum('a','b')",
        ],
        &["PRIMARY id", "n n", "f f", "s s(5)", "e e"],
    );
    let ghost = table(
        &[
            "id int",
            "n int?",
            "f double",
            "s varchar(9)",
            "e enum('b','a')",
        ],
        &["PRIMARY id f", "n n", "f f", "s s(5)", "e e"],
    );
    let reasons = choose(&original, &ghost, &[]).unwrap_err();
    let expected = [
        "PRIMARY (`id`): the new definition has no unique index over the same columns",
        "n (`n`): column n may be NULL",
        "f (`f`): column f is DOUBLE, which cannot be compared exactly",
        "s (`s`): has only the first 5 of column s",
        "e (`e`): column e changes from enum('a','b') to enum('b','a'), by which its values would be other keys",
    ];
    assert_eq!(reasons, expected);
    let none = table(&["id int"], &[]);
    let reasons = choose(&none, &none, &[]).unwrap_err();
    assert_eq!(
        reasons,
        ["the table has neither a PRIMARY KEY nor a UNIQUE index"]
    );
}

#[test]
fn a_type_change_keeps_the_key_or_not() {
    for (from, to, keeps) in [
        ("int", "bigint unsigned", true),
        ("int", "decimal(20,2)", true),
        ("decimal(20,2)", "int", false),
        ("int", "varchar(20)", false),
        ("bigint", "int", true),
        ("enum('a','b')", "enum('a','b','c')", true),
        ("enum('a','b')", "varchar(5)", false),
        ("binary(4)", "binary(5)", false),
        ("binary(4)", "varbinary(5)", true),
        ("varbinary(4)", "binary(4)", false),
        ("char(4)", "varchar(5)", true),
        ("varchar(4)", "char(4)", false),
        ("varchar(4)", "varbinary(4)", false),
        ("date", "datetime", true),
        ("timestamp", "datetime", false),
        ("uuid", "binary(16)", false),
    ] {
        let original = table(&[&format!("id {from}")], &["PRIMARY id"]);
        let ghost = table(&[&format!("id {to}")], &["PRIMARY id"]);
        let chosen = choose(&original, &ghost, &[]);
        assert_eq!(chosen.is_ok(), keeps, "{from} to {to}: {chosen:?}");
    }
}

#[test]
fn a_changed_collation_is_told() {
    let original = table(&["s varchar(9)"], &["PRIMARY s"]);
    let mut ghost = original.clone();
    assert!(!choose(&original, &ghost, &[]).unwrap().collation_changed());
    ghost.columns[0].collation = Some("utf8mb4_bin".to_string());
    assert!(choose(&original, &ghost, &[]).unwrap().collation_changed());
}
