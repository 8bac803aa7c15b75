# Reads a runtime.json (one value of JSON, however it is laid out) and prints what it asks for, a line each, fields
# between tabs, `-` for an empty one:
#   mkdir PATH | cgroup PATH | mount TYPE SOURCE DESTINATION OPTIONS | interface NAME | namespace KIND PATH
# jq would do, and takes a second to start on a slow machine.

{ text = text $0 "\n" }

END {
    value("")
    for (i = 0; ("mkdir." i) in leaf; i++) print "mkdir\t" leaf["mkdir." i]
    for (i = 0; ("cgroups." i) in leaf; i++) print "cgroup\t" leaf["cgroups." i]
    for (i = 0; ("mounts." i ".destination") in leaf; i++) {
        options = ""
        for (o = 0; ("mounts." i ".options." o) in leaf; o++) options = options (o ? "," : "") leaf["mounts." i ".options." o]
        at = "mounts." i "."
        print "mount\t" field(leaf[at "type"]) "\t" field(leaf[at "source"]) "\t" leaf[at "destination"] "\t" field(options)
    }
    for (i = 0; ("interfaces." i ".name") in leaf; i++) print "interface\t" leaf["interfaces." i ".name"]
    count = split("cgroup ipc mnt net pid user uts", kinds, " ")
    for (i = 1; i <= count; i++) if (leaf["bindNS." kinds[i]] != "") print "namespace\t" kinds[i] "\t" leaf["bindNS." kinds[i]]
}

function field(text) { return text == "" ? "-" : text }

# Takes the next token off `text`.
function next_token() {
    sub(/^[ \t\r\n]+/, "", text)
    if (!match(text, /^("([^"\\]|\\.)*"|[][{}:,]|[^][{}:," \t\r\n]+)/)) broken()
    token = substr(text, 1, RLENGTH)
    text = substr(text, RLENGTH + 1)
    return token
}

function peek() {
    sub(/^[ \t\r\n]+/, "", text)
    return substr(text, 1, 1)
}

function broken() {
    print "runtime.json is no JSON at: " substr(text, 1, 40) > "/dev/stderr"
    exit 1
}

function unquote(quoted) {
    quoted = substr(quoted, 2, length(quoted) - 2)
    # Go writes these three so, even where nothing asks for it.
    gsub(/\\u003c/, "<", quoted)
    gsub(/\\u003e/, ">", quoted)
    gsub(/\\u0026/, "\\&", quoted)
    gsub(/\\"/, "\"", quoted)
    gsub(/\\\//, "/", quoted)
    gsub(/\\\\/, "\\", quoted)
    return quoted
}

# Reads a value; what is in it goes to leaf["a.0.b"].
function value(path,   index_, key, mark) {
    mark = next_token()
    if (mark == "{") {
        if (peek() == "}") { next_token(); return }
        do {
            key = unquote(next_token())
            if (next_token() != ":") broken()
            value(path == "" ? key : path "." key)
            mark = next_token()
        } while (mark == ",")
        if (mark != "}") broken()
    } else if (mark == "[") {
        if (peek() == "]") { next_token(); return }
        index_ = 0
        do {
            value(path "." index_)
            index_++
            mark = next_token()
        } while (mark == ",")
        if (mark != "]") broken()
    } else if (mark ~ /^"/) {
        leaf[path] = unquote(mark)
    } else if (mark != "null") {
        leaf[path] = mark
    }
}
