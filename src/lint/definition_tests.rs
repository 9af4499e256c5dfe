use super::*;

fn one(clause: &str) -> Column {
    let mut found = columns_of_clause(clause);
    assert_eq!(found.len(), 1, "{clause}: {found:?}");
    found.remove(0)
}

#[test]
fn types_are_read() {
    let check = |definition: &str, expect: &str| {
        assert_eq!(
            one(&format!("ADD c {definition}")).type_text(),
            expect,
            "{definition}"
        );
    };
    check("int", "INT");
    check("INTEGER(11) unsigned", "INT(11) UNSIGNED");
    check("bool not null", "TINYINT(1)");
    check("double precision", "DOUBLE");
    check("numeric(10, 2)", "DECIMAL(10,2)");
    check("national varchar(5)", "VARCHAR(5)");
    check("character varying(5)", "VARCHAR(5)");
    check("character(5)", "CHAR(5)");
    check("long varbinary", "MEDIUMBLOB");
    check("enum('a', 'b''c', \"d\")", "ENUM('a','b''c','d')");
    check("serial", "BIGINT UNSIGNED");
    check("varchar(20) COMMENT 'not null default (x)'", "VARCHAR(20)");
    check("geometry srid 4326", "GEOMETRY");
}

#[test]
fn attributes_are_read() {
    let column = one(
        "ADD COLUMN IF NOT EXISTS `a b` VARCHAR(5) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL DEFAULT 'x' UNIQUE KEY",
    );
    assert_eq!(column.name, "a b");
    assert!(column.not_null && column.has_default && column.unique && !column.primary);
    assert_eq!(column.charset.as_deref(), Some("latin1_bin"));
    let column = one("CHANGE COLUMN a b BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY FIRST");
    assert_eq!(column.name, "b");
    assert!(column.auto_increment && column.primary && column.not_null && !column.has_default);
    let column = one("ADD c INT AS (a + (b)) STORED");
    assert_eq!(column.generated, Some(Generated::Stored));
    let column = one("ADD c INT GENERATED ALWAYS AS (a) VIRTUAL NOT NULL");
    assert_eq!(column.generated, Some(Generated::Virtual));
    assert!(one("MODIFY c INT REFERENCES x (y)").references);
    assert!(!one("ADD c INT DEFAULT (coalesce(NULL, 'NOT NULL'))").not_null);
}

#[test]
fn several_columns() {
    let names: Vec<String> = columns_of_clause(
        "ADD COLUMN (a INT, KEY k (a), `key` VARCHAR(3) DEFAULT 'a,b', CHECK (a > 0), e ENUM('x','y'))",
    )
    .into_iter()
    .map(|column| column.name)
    .collect();
    assert_eq!(names, ["a", "key", "e"]);
    assert!(columns_of_clause("ADD").is_empty());
    assert!(columns_of_clause("ADD a").is_empty());
    assert!(columns_of_clause("").is_empty());
}

#[test]
fn changes_of_types() {
    use TypeChange::*;
    let check = |old: &str, new: &str, expect: TypeChange| {
        let (from, to) = (one(&format!("ADD c {old}")), one(&format!("ADD c {new}")));
        assert_eq!(compare(&from, &to), expect, "{old} -> {new}");
    };
    let narrower = |why: &str| Narrower(why.to_string());
    check("INT", "INTEGER(5)", Same);
    check("INT", "BIGINT", Wider);
    check("INT UNSIGNED", "BIGINT", Wider);
    check("INT", "INT UNSIGNED", narrower("values below 0 do not fit"));
    check(
        "INT UNSIGNED",
        "INT",
        narrower("values above 2147483647 do not fit"),
    );
    check(
        "BIGINT",
        "INT",
        narrower("values above 2147483647 do not fit"),
    );
    check("VARCHAR(20)", "VARCHAR(21)", Wider);
    check("VARCHAR(20)", "CHAR(20)", Same);
    check(
        "VARCHAR(20)",
        "VARCHAR(10)",
        narrower("at most 10 instead of 20 long"),
    );
    check("TEXT", "LONGTEXT", Wider);
    check(
        "TEXT",
        "TINYTEXT",
        narrower("at most 63 instead of 16383 long"),
    );
    check("VARCHAR(20)", "VARBINARY(20)", Conversion);
    check("DECIMAL(10,2)", "DECIMAL(12,2)", Wider);
    check(
        "DECIMAL(10,2)",
        "DECIMAL(10,4)",
        narrower("6 instead of 8 digits before the point"),
    );
    check(
        "DECIMAL(10,2)",
        "DECIMAL(10,1)",
        narrower("1 instead of 2 digits after the point"),
    );
    check(
        "DATETIME(6)",
        "DATETIME",
        narrower("at most 0 instead of 6 digits after the second"),
    );
    check("DATETIME", "DATE", Conversion);
    check("INT", "VARCHAR(10)", Conversion);
    check("DOUBLE", "FLOAT", Conversion);
    check("ENUM('a','b')", "ENUM('a','b','c')", Wider);
    check("ENUM('a','b')", "ENUM('b','a')", LabelsReordered);
    check(
        "ENUM('a','b')",
        "ENUM('a')",
        LabelsRemoved(vec!["b".into()]),
    );
    check("ENUM('a')", "VARCHAR(1)", Conversion);
    check("JSON", "JSON", Same);
}
