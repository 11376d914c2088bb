# A page in Markdown as Doxygen is to read it: links between pages become references, whatever folder a page is in, and
# files that are no pages have none to link to. `ids` maps files to pages, as "README.md=index tests/README.md=tests";
# `page` is the file that is read.
function resolve(path,  part, n, i, kept, depth, text) {
  n = split(folder path, part, "/")
  depth = 0
  for (i = 1; i <= n; ++i) {
    if (part[i] == "" || part[i] == ".") continue
    if (part[i] == "..") --depth
    else kept[++depth] = part[i]
  }
  text = kept[1]
  for (i = 2; i <= depth; ++i) text = text "/" kept[i]
  return text
}
function open_bracket(text,  i, depth) {  # of the last closing one
  depth = 0
  for (i = length(text); i > 0; --i) {
    if (substr(text, i, 1) == "]") ++depth
    if (substr(text, i, 1) == "[" && --depth == 0) return i
  }
  return 0
}
BEGIN {
  count = split(ids, pair, " ")
  for (i = 1; i <= count; ++i) {
    split(pair[i], both, "=")
    id[both[1]] = both[2]
  }
  folder = page
  if (!sub(/[^\/]*$/, "", folder)) folder = ""
}
/^```/ { fenced = !fenced }
fenced || /^    / { print; next }
/^# / && !titled {
  titled = 1
  print $0 (id[page] == "index" ? "" : " {#" id[page] "}")
  next
}
{
  done = ""
  rest = $0
  while (match(rest, /\]\([^) ]+\)/)) {
    before = done substr(rest, 1, RSTART)
    target = substr(rest, RSTART + 2, RLENGTH - 3)
    rest = substr(rest, RSTART + RLENGTH)
    path = target
    sub(/#.*$/, "", path)
    at = open_bracket(before)
    if (target ~ /^https?:/) done = before "(" target ")"
    else if (path != "" && resolve(path) in id) done = before "(@ref " id[resolve(path)] ")"
    else if (path ~ /\.png$/) {
      sub(/^.*\//, "", path)
      done = before "(" path ")"
    } else done = substr(before, 1, at - 1) substr(before, at + 1, length(before) - at - 1)
  }
  print done rest
}
