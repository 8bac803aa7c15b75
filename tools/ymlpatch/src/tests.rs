#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::json;

const YML: &str = "\
kernel:
  image: A_TAG # a comment
  cmdline: \"rootdelay=3\"
init: [one, TWO_TAG, three]
onboot:
  - {name: first, image: X_TAG, command: [\"/bin/sh\", \"-1\"]}
services:
  - name: log
    image: LOG_TAG
    oomScoreAdj: -999
  - name: vm
    image: X_TAG
files:
  - path: a
    contents: 'VERSION'
";

fn run(program: &str) -> Value {
    read(&apply(program, YML).unwrap()).unwrap()
}

fn value(program: &str, input: &Value) -> Value {
    let text = serde_json::to_string(input).unwrap();
    read(&apply(program, &text).unwrap()).unwrap()
}

fn error(program: &str, yaml: &str) -> String {
    format!("{:#}", apply(program, yaml).unwrap_err())
}

#[test]
fn nothing_changes_but_what_the_program_names() {
    let plain = read(YML).unwrap();
    assert_eq!(run("."), plain);
    let mut want = plain.clone();
    want["kernel"]["image"] = "B_TAG".into();
    want["init"][1] = "2_TAG".into();
    assert_eq!(run("((.init[] | select(. == \"TWO_TAG\")) |= \"2_TAG\") | .kernel.image |= \"B_TAG\""), want);
}

#[test]
fn elements_are_put_in_after_one_that_is_found_by_name() {
    let after = r#"
        limit(1; .services | to_entries[] | select(.value.name == "log") | .key + 1) as $at
        | .services |= .[0:$at] + [{name: "new", binds: ["/a:/b"]}] + .[$at:]"#;
    let services = run(after)["services"].clone();
    let names: Vec<&str> = services.as_array().unwrap().iter().map(|service| service["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["log", "new", "vm"]);
    assert_eq!(services[1], json!({"name": "new", "binds": ["/a:/b"]}));
    for program in
        [".services |= .+ [{\"name\": \"z\"}]", ".services += [{name: \"z\"}]", ".services = .services + [{(\"na\" + \"me\"): \"z\"}]"]
    {
        assert_eq!(run(program)["services"][2], json!({"name": "z"}), "{program}");
    }
}

#[test]
fn what_is_deleted_is_all_that_was_found_at_first() {
    let result = run("del(.init[] | select(test(\"^t|TWO_TAG\") != true)) | del(.services[] | select(.name != \"vm\"), .[\"x\"]?)");
    assert_eq!(result["init"], json!(["TWO_TAG", "three"]));
    assert_eq!(result["services"], json!([{"name": "vm", "image": "X_TAG"}]));
    assert_eq!(value("del(.[1:3], .[0])", &json!([1, 2, 3, 4])), json!([4]));
    assert_eq!(value("del(.a, .b.c)", &json!({"a": 1, "b": {"c": 2, "d": 3}})), json!({"b": {"d": 3}}));
    assert_eq!(value("(.[] | select(. > 2)) |= empty", &json!([1, 5, 3, 2])), json!([1, 2]));
}

#[test]
fn operators_bind_as_in_jq() {
    for (program, input, want) in [
        ("[.a, .b | . + 1]", json!({"a": 1, "b": 2}), json!([2, 3])),
        ("1 + 2 * 3 == 7 and .a != 1 or true", json!({"a": 1}), json!(true)),
        ("[.[] as $x | $x, 10 | . * 2]", json!([1, 2]), json!([2, 20, 4, 20])),
        (".a // .b // \"none\"", json!({"a": false, "b": null}), json!("none")),
        ("[.[] | select(. >= 2 and (. < 4 | not) | not)] | length - 1", json!([1, 2, 3, 4]), json!(2)),
        ("map(.x? // 0)", json!([{"x": 1}, 5, {}]), json!([1, 0, 0])),
        ("{a, \"b\": .a, c: {d: [.[\"a\"]]}}", json!({"a": 1}), json!({"a": 1, "b": 1, "c": {"d": [1]}})),
        ("(.a, .c.d) |= . + 1", json!({"a": 1}), json!({"a": 2, "c": {"d": 1}})),
        (".a -= [2]", json!({"a": [1, 2, 3]}), json!({"a": [1, 3]})),
        ("[limit(2; .[]), first(.[]), (first), -.[0]]", json!([1, 2, 3]), json!([1, 2, 1, 1, -1])),
        ("[.[-2:], .[:1], .[1], .[-1], .[9]]", json!([1, 2, 3]), json!([[2, 3], [1], 2, 3, null])),
        (".b | test(\"(?i)^HE\\\\d\\\\b\")", json!({"b": "he1"}), json!(true)),
        ("[has(\"a\"), keys, (.b | test(\"h  e\"; \"x\"))]", json!({"b": "he", "a": 1}), json!([true, ["a", "b"], true])),
        ("[1.5 + 1, .5]", json!(null), json!([2.5, 0.5])),
    ] {
        assert_eq!(value(program, &input), want, "{program}");
    }
}

#[test]
fn errors_name_line_and_column() {
    for (program, want) in [
        (".a |", "the program:1:5: end of the program cannot begin an expression"),
        (".a\n  | .b c", "the program:2:8: unexpected `c`"),
        (". == 1 == 2", "the program:1:8: `==` cannot follow `==` without parentheses"),
        ("ltrimstr(1)", "the program:1:1: the function `ltrimstr` is not supported; supported are del, "),
        ("select(1; 2)", "the program:1:1: `select` takes 1 arguments, not 2"),
        ("if . then 1 else 2 end", "the program:1:1: `if` of jq is not supported"),
        (".kernel | .image[0]", "the program:1:17: cannot index a string with a number"),
        (".none[]", "the program:1:6: cannot iterate over null"),
        (".init + 1", "the program:1:7: array and number cannot be added"),
        (".x = $y", "the program:1:6: the variable `$y` is not defined"),
        ("(.init | length) = 3", "the program:1:10: `length` is no path, so it cannot be changed"),
        (".services[] | del(.[0])", "the program:1:20: cannot index an object with a number"),
        (".init[]", "the program: it gives 3 documents instead of one"),
        ("\"\\(.a)\"", "the program:1:2: string interpolation `\\(…)` is not supported"),
        ("\"abc", "the program:1:1: this string has no closing quote"),
        (". & .", "the program:1:3: unexpected character `&`"),
        (".init[] |= test(\"(\")", "the program:1:12: invalid pattern"),
    ] {
        let got = error(program, YML);
        assert!(got.starts_with(want), "{program}: {got}");
    }
    for mark in ["(", "-", "[", "{a: "] {
        let got = error(&mark.repeat(1000), YML);
        assert!(got.contains("expressions are nested more than 64 deep"), "{mark}: {got}");
    }
    assert!(error(&"1 | ".repeat(50_000), YML).contains("more than 4096 tokens"));
    assert!(error(".", "a: [1\nb: 2").starts_with("the document is not valid YAML: line "), "{}", error(".", "a: [1\nb: 2"));
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let texts = [
        "",
        " x",
        "x ",
        "y",
        "No",
        "null",
        "~",
        "0644",
        "1.5",
        "-1",
        "- a",
        "a: b",
        "a #b",
        "#a",
        "a:",
        "'",
        "\"",
        "a'b",
        "1e3",
        "/a",
        "é",
        "\t",
        "a\nb",
        "a\nb\n",
        "a\n\n",
        "\na",
        " a\nb",
        "a\n b\n\nc\n",
        "\u{7f}\u{85}\u{2028}",
        "{a}",
        "[a]",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        "=",
        "<<",
        "12:30",
        "2020-01-01",
        "a\\b",
        "#!/bin/sh\necho 'a: b' # c\n",
    ];
    let odd =
        json!({"": texts.to_vec(), "y": {"a b": [[1, [2.0, {"x": null}]], {}, [], [{}], true]}, "n": i64::MIN, "k: v": texts.join("\n")});
    let written = write::to_yaml(&odd);
    assert_eq!(read(&written).unwrap(), odd, "{written}");
    for scalar in [json!("a\nb"), json!(3), json!([]), json!({}), json!(1e30), json!(null)] {
        assert_eq!(read(&write::to_yaml(&scalar)).unwrap(), scalar);
    }
}

#[test]
fn the_text_is_laid_out_as_people_do() {
    let patched = apply(".onboot[0].image = \"Y_TAG\" | del(.services, .files)", YML).unwrap();
    let want = "kernel:\n  image: A_TAG\n  cmdline: rootdelay=3\ninit:\n  - one\n  - TWO_TAG\n  - three\nonboot:\n  - name: first\n    image: Y_TAG\n    command:\n      - /bin/sh\n      - '-1'\n";
    assert_eq!(patched, want);
}

#[test]
fn variables_come_from_the_caller() {
    let program = Program::parse("(.files[]? | select(.contents == \"VERSION\")).contents |= $version", "p").unwrap();
    let text = program.apply(YML, &[("version", "1.2-kvm: \"x\"")]).unwrap();
    assert_eq!(read(&text).unwrap()["files"][0]["contents"], "1.2-kvm: \"x\"");
}

#[test]
fn yq_iterates_over_nothing_where_jq_fails() {
    let program = "del(.services[] | select(.name != \"debug\")) | (.none[] | .image) |= \"x\" | .kernel.image |= \"K\"";
    let run = |language| Program::parse(program, "mini.yq").expect("valid").by_rules_of(language).apply("kernel: {image: a}", &[]);
    assert_eq!(run(Language::Yq).expect("null gives nothing"), "kernel:\n  image: K\n");
    let error = run(Language::Jq).expect_err("jq refuses").to_string();
    assert!(error.contains("cannot iterate over null"), "{error}");
}
