# A header as Doxygen is to read it. Lines keep their numbers.

# The inline namespace, which nobody writes.
/^namespace attnflow \{ inline namespace ATTNFLOW_ABI \{/ { sub(/ inline namespace ATTNFLOW_ABI \{/, "") }
# The brace that closes it.
/^\}\}\}?  \/\/ namespace attnflow/ { sub(/\}/, "") }

# What every class has by convention is said once.
/^  using Scalar = Scalar_;$/ { $0 = $0 " ///< The number type." }
/^  static constexpr int Dim = Dim_;$/ { $0 = $0 " ///< d, the dimension of the tokens; Eigen::Dynamic where it is known at run time." }
/^  using State = Tokens<Scalar, Dim>;$/ { $0 = $0 " ///< What a run moves: d × n, a token in each column." }
/^  using State = .*;$/ && said == "" && !/Tokens<Scalar, Dim>/ { $0 = $0 " ///< What a run moves." }
/^  static constexpr const char\* name = .*;$/ { $0 = $0 " ///< What messages call it." }
/^  static constexpr auto function = WeightFunction::.*;$/ { $0 = $0 " ///< Its kind." }
/^  static constexpr bool rows_sum_to_one = true;$/ && said == "" { $0 = $0 " ///< P is a stochastic matrix." }
/^  static constexpr bool rows_sum_to_one = false;$/ && said == "" { $0 = $0 " ///< P is no stochastic matrix." }
/^  static constexpr auto rows = .*;$/ { $0 = $0 " ///< How weights are scaled." }
/^  static constexpr int order = .*;$/ { $0 = $0 " ///< The order of accuracy of the steps." }
/^  static constexpr int dense_order = .*;$/ { $0 = $0 " ///< The order of accuracy of interpolate()." }

/ static void for_each[0-9]+\(A&&\.\.\. a\)/ { $0 = $0 " ///< One operation on so many states, entry by entry." }

/^ +bool operator==\(.* = default;$/ && said == "" { $0 = $0 " ///< Member by member." }

# Sources, in comments alone: [KEY] becomes a link to the page of references.
/\/\/\// {
  at = index($0, "///")
  done = substr($0, 1, at - 1)
  rest = substr($0, at)
  while (match(rest, /(\[|; )[A-Z][A-Za-z]*[0-9][0-9][],;]/)) {
    lead = substr(rest, RSTART, 1) == "[" ? 1 : 2
    key = substr(rest, RSTART + lead, RLENGTH - lead - 1)
    done = done substr(rest, 1, RSTART + lead - 1) "\\ref ref_" key " \"" key "\""
    rest = substr(rest, RSTART + RLENGTH - 1)
  }
  $0 = done rest
  gsub(/ (eq|sec)\. /, "&\\ ")  # no end of a sentence
  gsub(/\. \\ /, ".\\ ")
}

# One comment for several names of a line is the comment of each.
/^ +\/\/\/ / {
  text = $0
  sub(/^ +\/\/\/ /, "", text)
  said = said == "" ? text : said " " text
  print
  next
}
/^ +[A-Za-z][A-Za-z0-9_:<>, ]* [a-z_]+( = [^,;]*)?(, [a-z_]+( = [^,;]*)?)+;/ && (said != "" || /\/\/\/</) {
  line = $0
  after = ""
  if (match(line, / *\/\/\/< /)) {
    after = substr(line, RSTART + RLENGTH)
    line = substr(line, 1, RSTART - 1)
  }
  if (match(line, / [a-z_]+( = [^,;]*)?(, [a-z_]+( = [^,;]*)?)+;/)) {
    type = substr(line, 1, RSTART)
    names = substr(line, RSTART + 1, RLENGTH - 2)
    count = split(names, name, /, /)
    out = ""
    for (i = 1; i <= count; ++i) {
      comment = after != "" ? after : (i > 1 ? said : "")
      out = out type name[i] ";" (comment == "" ? "" : " /**< " comment " */")
    }
    print out
    said = ""
    next
  }
}
{
  said = ""
  print
}
