# cmake/references.bib as a Markdown page: an entry of BibTeX becomes a paragraph with an anchor. Fields stand on lines of
# their own, as `name = {value},`.
function plain(text) {
  gsub(/\{\\o\}/, "ø", text)
  gsub(/\{\\v\{z\}\}/, "ž", text)
  gsub(/\{\\'i\}/, "í", text)
  gsub(/\{\\'e\}/, "é", text)
  gsub(/\\&/, "\\&", text)
  gsub(/[{}]/, "", text)
  gsub(/--/, "–", text)
  return text
}
function value(name) { return name in field ? plain(field[name]) : "" }
function people(names,  n, part, i, k, pair, all) {
  n = split(names, part, " and ")
  for (i = 1; i <= n; ++i) {
    k = split(part[i], pair, ", ")
    all = all (i > 1 ? (i == n ? " and " : ", ") : "") (k == 2 ? pair[2] " " pair[1] : part[i])
  }
  return all
}
function where(  text) {
  text = value("journal") value("booktitle") value("publisher")
  if (value("edition") != "") text = text ", edition " value("edition")
  if (value("volume") != "") text = text " " value("volume")
  if (value("number") != "") text = text " (" value("number") ")"
  if (value("pages") != "") text = text ", " value("pages")
  if (value("note") != "") text = text ", " value("note")
  return text
}
BEGIN { print "# References {#references}\n\nWhat comments mean by [KEY].\n" }
/^@/ {
  key = $0
  sub(/^@[a-z]*\{/, "", key)
  sub(/,$/, "", key)
  delete field
  next
}
/^ / {
  name = $1
  text = $0
  sub(/^[^=]*= */, "", text)
  sub(/^\{/, "", text)
  sub(/\},?$/, "", text)
  field[name] = text
}
/^\}/ {
  print "\\anchor ref_" key "\n**" key "** &nbsp; " people(value("author")) ": *" value("title") "*. " where() ", " value("year") ".\n"
}
