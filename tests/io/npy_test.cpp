#include <attnflow/io/npy.hpp>

#include "catch.hpp"
#include "folder.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;
using attnflow::FileError;
using attnflow::load_npy;
using attnflow::NpyArray;
using attnflow::NpyWriter;
using attnflow::save_npy;
using attnflow::Tokens;
using Catch::Matchers::ContainsSubstring;
using Shape = std::vector<Eigen::Index>;

void put(const fs::path& path, std::string_view bytes) {
  fs::remove(path);  // some file systems send a file that is cut to nothing and written anew to the disk
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// A file of version `major` with this header text and these bytes after it.
std::string npy(std::string_view header, std::string_view data, int major = 1) {
  std::string file = "\x93NUMPY";
  file += static_cast<char>(major);
  file += '\0';
  for (int k = 0; k < (major == 1 ? 2 : 4); ++k) file += static_cast<char>(header.size() >> (8 * k) & 0xff);
  return file.append(header).append(data);
}

std::string header(std::string_view descr, std::string_view order, std::string_view shape) {
  return "{'descr': '" + std::string(descr) + "', 'fortran_order': " + std::string(order) +
         ", 'shape': " + std::string(shape) + ", }\n";
}

/// The bytes of an unsigned pattern, lowest first (little) or highest first (big).
std::string bytes_of(std::uint64_t pattern, std::size_t size, bool big) {
  std::string bytes;
  for (std::size_t k = 0; k < size; ++k)
    bytes += static_cast<char>(pattern >> (8 * (big ? size - 1 - k : k)) & 0xff);
  return bytes;
}

std::string elements(const std::vector<double>& values, std::string_view type, bool big) {
  std::string bytes;
  for (const double v : values) {
    if (type == "f8") bytes += bytes_of(std::bit_cast<std::uint64_t>(v), 8, big);
    if (type == "f4") bytes += bytes_of(std::bit_cast<std::uint32_t>(static_cast<float>(v)), 4, big);
    if (type == "i8") bytes += bytes_of(static_cast<std::uint64_t>(static_cast<std::int64_t>(v)), 8, big);
    if (type == "i4") bytes += bytes_of(static_cast<std::uint32_t>(static_cast<std::int32_t>(v)), 4, big);
  }
  return bytes;
}

/// What load_npy says of a file with these bytes, or nothing if it loads.
std::optional<std::string> complaint(const fs::path& path, std::string_view bytes) {
  put(path, bytes);
  try {
    (void)load_npy(path);
  } catch (const FileError& error) {
    return error.what();
  }
  return std::nullopt;
}

}  // namespace

TEST_CASE("npy: every type, byte order, memory order and version reads as the same numbers", "[io][npy]") {
  const Folder folder;
  const std::vector<double> in_c_order{0, -1, 2, 3, -4, 500};        // of shape (3, 2)
  const std::vector<double> in_fortran_order{0, 2, -4, -1, 3, 500};  // the same array, column after column
  for (const std::string type : {"f4", "f8", "i4", "i8"})
    for (const bool big : {false, true})
      for (const bool fortran : {false, true})
        for (const int version : {1, 2, 3}) {
          CAPTURE(type, big, fortran, version);
          const std::string text = header((big ? ">" : "<") + type, fortran ? "True" : "False", "(3, 2)");
          put(folder / "a.npy",
              npy(text, elements(fortran ? in_fortran_order : in_c_order, type, big), version));
          const NpyArray array = load_npy(folder / "a.npy");
          CHECK(array.shape == Shape{3, 2});
          CHECK(array.values == in_c_order);
        }
}

TEST_CASE("npy: Fortran order of three axes", "[io][npy]") {
  const Folder folder;
  std::vector<double> file;  // element (i, j, k) of shape (2, 3, 4) is 100 i + 10 j + k
  for (int k = 0; k < 4; ++k)
    for (int j = 0; j < 3; ++j)
      for (int i = 0; i < 2; ++i) file.push_back(100 * i + 10 * j + k);
  put(folder / "a.npy", npy(header("<f8", "True", "(2, 3, 4)"), elements(file, "f8", false)));
  const NpyArray array = load_npy(folder / "a.npy");
  std::size_t at = 0;
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k) CHECK(array.values[at++] == 100 * i + 10 * j + k);
}

TEST_CASE("npy: byte orders that leave the choice to the machine", "[io][npy]") {
  const Folder folder;
  const bool big = std::endian::native == std::endian::big;
  for (const char* type : {"=f8", "|f8", "f8"}) {
    put(folder / "a.npy", npy(header(type, "False", "(2,)"), elements({1.5, -2}, "f8", big)));
    CHECK(load_npy(folder / "a.npy").values == std::vector<double>{1.5, -2});
  }
}

TEST_CASE("npy: a header may be laid out in other ways", "[io][npy]") {
  const Folder folder;
  const std::string data = elements({7, 8}, "f8", false);
  for (const char* text : {"{'shape': (2,), 'fortran_order': False, 'descr': '<f8'}",
                           "{\"descr\":\"<f8\",\"fortran_order\":True,\"shape\":(2,)}",
                           "  { 'descr' :\t'<f8' , 'shape' : ( 2 , ) , 'fortran_order' : False , }  \n",
                           "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1)}",
                           "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2, 1,)}"}) {
    CAPTURE(text);
    put(folder / "a.npy", npy(text, data));
    CHECK(load_npy(folder / "a.npy").values == std::vector<double>{7, 8});
  }
}

TEST_CASE("npy: a single number, and no numbers", "[io][npy]") {
  const Folder folder;
  put(folder / "a.npy", npy(header("<f8", "False", "()"), elements({2.5}, "f8", false)));
  CHECK(load_npy(folder / "a.npy").shape.empty());
  CHECK(load_npy(folder / "a.npy").values == std::vector<double>{2.5});
  for (const char* order : {"True", "False"}) {
    put(folder / "a.npy", npy(header("<f8", order, "(0, 3)"), ""));
    CHECK(load_npy(folder / "a.npy").shape == Shape{0, 3});
    CHECK(load_npy(folder / "a.npy").values.empty());
  }
}

TEST_CASE("npy: NaN and infinities are values", "[io][npy]") {
  const Folder folder;
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> values{std::nan(""), inf, -inf, -0.0, std::numeric_limits<double>::denorm_min()};
  save_npy<double>(folder / "a.npy", {5}, values);
  const NpyArray array = load_npy(folder / "a.npy");
  CHECK(std::isnan(array.values[0]));
  CHECK(array.values[1] == inf);
  CHECK(array.values[2] == -inf);
  CHECK(std::signbit(array.values[3]));
  CHECK(array.values[4] == values[4]);
}

TEST_CASE("npy: an integer that no double equals is refused", "[io][npy]") {
  const Folder folder;
  const auto file = [](std::int64_t value) {
    return npy(header("<i8", "False", "(1,)"), bytes_of(static_cast<std::uint64_t>(value), 8, false));
  };
  constexpr std::int64_t one = 1, low = std::numeric_limits<std::int64_t>::min();
  for (const std::int64_t value : {one << 53, -(one << 53), (one << 53) + 2, low, one << 62, low + 1024}) {
    put(folder / "a.npy", file(value));
    CHECK(static_cast<std::int64_t>(load_npy(folder / "a.npy").values[0]) == value);
  }
  for (const std::int64_t value :
       {(one << 53) + 1, -(one << 53) - 1, std::numeric_limits<std::int64_t>::max(), low + 1}) {
    const auto text = complaint(folder / "a.npy", file(value));
    REQUIRE(text);
    CHECK_THAT(*text, ContainsSubstring("holds the integer " + std::to_string(value)));
  }
}

TEST_CASE("npy: what is wrong with a file is said in one line, with its name", "[io][npy]") {
  const Folder folder;
  const std::string data = elements({1, 2, 3, 4, 5, 6}, "f8", false);
  const auto with = [&](std::string_view text) { return npy(text, data); };
  const auto shaped = [&](std::string_view shape) { return npy(header("<f8", "False", shape), data); };
  const auto typed = [&](std::string_view type) { return npy(header(type, "False", "(6,)"), data); };
  std::string nested = "{'descr': '<f8', 'fortran_order': False, 'shape': ";
  nested.append(60000, '(');
  std::string axes = "(";
  for (int k = 0; k < 65; ++k) axes += "1, ";
  std::string other_version = shaped("(6,)");
  other_version[6] = 4;
  std::string other_magic = shaped("(6,)");
  other_magic[1] = 'n';

  struct Case {
    std::string bytes, message;
  };
  const std::vector<Case> cases{
      {"", "has 0 bytes, too few"},
      {"\x93NUMPY", "has 6 bytes, too few"},
      {other_magic, "starts with '\\x93nUMPY', expected '\\x93NUMPY'"},
      {other_version, "is of .npy version 4.0, expected 1.0, 2.0 or 3.0"},
      {npy("", "", 2).substr(0, 11), "ends inside the length of its header"},
      {shaped("(6,)").substr(0, 20), "bytes, but only 10 follow"},
      {npy(std::string(70000, ' '), data, 2), "expected a dictionary"},
      {npy(std::string((1 << 20) + 1, ' '), data, 2), "expected at most 1048576"},
      {std::string("\x93NUMPY\x02\0\xff\xff\xff\xff", 12) + data,
       "has a header of 4294967295 bytes, but only 48 follow"},
      {with(""), "has the end at byte 0 of its header text, expected a dictionary"},
      {with("hello"), "has 'hello' at byte 0 of its header text"},
      {with("{"), "has the end at byte 1 of its header text, expected a key in quotes"},
      {with("{}"), "has no key 'descr'"},
      {with("{'descr': '<f8', 'shape': (6,)}"), "has no key 'fortran_order'"},
      {with("{'descr': '<f8', 'fortran_order': False}"), "has no key 'shape'"},
      {with("{'descr': '<f8', 'descr': '<f8'}"), "has the key 'descr' twice"},
      {with("{'evil\x1b': 1}"), "has the key 'evil\\x1b' in its header"},
      {with("{'descr"), "expected a closing quote"},
      {with("{'descr' '<f8'"), "expected ':' after a key"},
      {with("{'descr': '<f8' 'shape'"), "expected ',' or '}'"},
      {with("{,}"), "expected a key in quotes"},
      {with("{'descr': '<\\x668'}"), "expected a string without escapes"},
      {with("{'fortran_order': Maybe}"), "expected True or False"},
      {with("{'fortran_order': 1}"), "expected True or False"},
      {with(header("<f8", "False", "(6,)") + "x"), "expected nothing after the '}'"},
      {with(nested), "expected a size (0, 1, 2, ...)"},
      {shaped("6"), "expected a shape such as (3, 2)"},
      {shaped("[6]"), "expected a shape such as (3, 2)"},
      {shaped("(6)"), "expected a ',' in a shape of one axis"},
      {shaped("(6,,)"), "expected a size (0, 1, 2, ...)"},
      {shaped("(,)"), "expected a size (0, 1, 2, ...)"},
      {shaped("(2 3)"), "expected ',' or ')' in the shape"},
      {shaped("(-6,)"), "has '-6,)"},
      {shaped("(6.0,)"), "expected ',' or ')' in the shape"},
      {shaped("(06,)"), "without leading zeros"},
      {shaped("(None,)"), "expected a size (0, 1, 2, ...)"},
      {shaped("(99999999999999999999999,)"), "expected sizes below 2^63"},
      {shaped("(9223372036854775808,)"), "expected sizes below 2^63"},
      {shaped("(9223372036854775807,)"), "expected fewer than 2^63 bytes"},
      {shaped("(4294967296, 4294967296)"), "expected fewer than 2^63 bytes"},
      {shaped("(0, 4294967296, 4294967296)"), "expected fewer than 2^63 bytes"},
      {shaped("(1152921504606846975,)"), "cut short"},
      {shaped(axes + ")"), "more than 64 axes"},
      {shaped("(7,)"), "holds 48 bytes after its header, expected 56 for shape (7,) of 'f8': cut short"},
      {shaped("(5,)"), "holds 48 bytes after its header, expected 40 for shape (5,) of 'f8': bytes too many"},
      {shaped("(0,)"), "expected 0 for shape (0,)"},
      {typed("<c16"), "has the element type '<c16', expected f4, f8, i4 or i8"},
      {typed("|O"), "has the element type '|O'"},
      {typed("|b1"), "has the element type '|b1'"},
      {typed("<f2"), "has the element type '<f2'"},
      {typed("<U4"), "has the element type '<U4'"},
      {typed("<u8"), "has the element type '<u8'"},
      {typed(""), "has the element type ''"},
      {typed("<"), "has the element type '<'"},
      {typed("<<f8"), "has the element type '<<f8'"},
      {with("{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (6,)}"),
       "has a structured element type"},
      {with("{'descr': ('<f8', (2,)), 'fortran_order': False, 'shape': (3,)}"),
       "has a structured element type"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.message);
    const auto text = complaint(folder / "bad.npy", c.bytes);
    REQUIRE(text);
    CHECK_THAT(*text, ContainsSubstring(c.message));
    CHECK_THAT(*text, ContainsSubstring((folder / "bad.npy").string() + ": "));
    CHECK(text->find('\n') == std::string::npos);
    CHECK(text->size() < 400 + (folder / "bad.npy").string().size());
  }
}

TEST_CASE("npy: what is not a file is refused", "[io][npy]") {
  const Folder folder;
  CHECK_THROWS_WITH(load_npy(folder / "missing.npy"), ContainsSubstring("missing.npy: cannot be read"));
  CHECK_THROWS_WITH(load_npy(folder.path), ContainsSubstring("not a regular file"));
}

TEST_CASE("npy: a damaged file loads or is refused, at every byte", "[io][npy]") {
  const Folder folder;
  const fs::path path = folder / "a.npy";
  for (const char* type : {"f4", "i8"}) {
    const std::string good =
        npy(header(std::string("<") + type, "True", "(2, 3)"), elements({1, 2, 3, 4, 5, 6}, type, false));
    REQUIRE_FALSE(complaint(path, good));
    for (std::size_t size = 0; size < good.size(); ++size) {
      CAPTURE(size);
      CHECK(complaint(path, std::string_view(good).substr(0, size)));
    }
    int loaded = 0;
    for (std::size_t at = 0; at < good.size(); ++at)
      for (int byte = 0; byte < 256; ++byte) {
        std::string bad = good;
        bad[at] = static_cast<char>(byte);
        loaded += !complaint(path, bad);  // anything but a FileError ends the test
      }
    CHECK(loaded > 0);
  }
}

TEST_CASE("npy: what is saved has NumPy's bytes", "[io][npy]") {
  const Folder folder;
  save_npy<double>(folder / "a.npy", {3, 1}, std::vector<double>{1, -2, 0.5});
  std::string text = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 1), }";
  text.resize(128 - 10 - 1, ' ');
  CHECK(get(folder / "a.npy") == npy(text + "\n", elements({1, -2, 0.5}, "f8", false)));
  CHECK(folder.files() == 1);
}

TEST_CASE("npy: writing for the other byte order reverses each element", "[io][npy]") {
  const Folder folder;
  std::vector<double> values(10000);
  for (std::size_t k = 0; k < values.size(); ++k) values[k] = 1.0 / static_cast<double>(k + 1);
  attnflow::AtomicFile file(folder / "a.bin");
  attnflow::detail::write_elements<std::endian::big>(file, std::span<const double>(values));
  attnflow::detail::write_elements<std::endian::little>(file, std::span<const double>(values));
  file.commit();
  CHECK(get(folder / "a.bin") == elements(values, "f8", true) + elements(values, "f8", false));
}

TEMPLATE_TEST_CASE("npy: what is saved loads again", "[io][npy]", float, double, std::int32_t, std::int64_t) {
  const Folder folder;
  const std::vector<TestType> values{1, -2, 3, std::numeric_limits<TestType>::min(), 5, 6};
  for (const Shape& shape : {Shape{6}, Shape{2, 3}, Shape{1, 6, 1}, Shape{3, 1, 2}}) {
    save_npy<TestType>(folder / "a.npy", shape, values);
    const NpyArray array = load_npy(folder / "a.npy");
    CHECK(array.shape == shape);
    CHECK(array.values == std::vector<double>(values.begin(), values.end()));
  }
  CHECK_THROWS_WITH(save_npy<TestType>(folder / "b.npy", {2, 2}, values),
                    "save_npy: shape (2, 2) does not fit 6 values");
  CHECK_THROWS_AS(save_npy<TestType>(folder / "b.npy", {-2, -3}, values), std::invalid_argument);
  CHECK_FALSE(fs::exists(folder / "b.npy"));
}

TEMPLATE_TEST_CASE("npy: tokens are an array of shape (n, d)", "[io][npy]", float, double) {
  const Folder folder;
  Tokens<TestType, 2> x(2, 3);
  x << 1, 2, 3, 4, 5, 6;
  save_npy(folder / "x.npy", x);
  const NpyArray array = load_npy(folder / "x.npy");
  CHECK(array.shape == Shape{3, 2});
  CHECK(array.values == std::vector<double>{1, 4, 2, 5, 3, 6});
  CHECK(attnflow::tokens_from<TestType>(array, "x.npy") == x);
  CHECK_THROWS_WITH(attnflow::tokens_from<TestType>(NpyArray{{6}, array.values}, "x.npy"),
                    "x.npy: has shape (6,), expected (n, d) with d at least 1");
  CHECK_THROWS_AS(attnflow::tokens_from<TestType>(NpyArray{{Eigen::Index{1} << 60, 0}, {}}, "x.npy"),
                  FileError);
  CHECK(attnflow::tokens_from<TestType>(NpyArray{{0, 3}, {}}, "x.npy").cols() == 0);
}

TEST_CASE("npy: matrices keep rows and columns, one or a stack of them", "[io][npy]") {
  const NpyArray one{{2, 3}, {1, 2, 3, 4, 5, 6}};
  const auto single = attnflow::matrices_from<double>(one, "V.npy");
  REQUIRE(single.size() == 1);
  CHECK(single[0] == (Eigen::MatrixXd(2, 3) << 1, 2, 3, 4, 5, 6).finished());
  const auto stack = attnflow::matrices_from<float>(NpyArray{{3, 1, 2}, one.values}, "V.npy");
  REQUIRE(stack.size() == 3);
  CHECK(stack[2] == (Eigen::MatrixXf(1, 2) << 5, 6).finished());
  CHECK_THROWS_WITH(attnflow::matrices_from<double>(NpyArray{{6}, one.values}, "V.npy"),
                    "V.npy: has shape (6,), expected (rows, cols) or (heads, rows, cols), none of them 0");
  CHECK_THROWS_AS(attnflow::matrices_from<double>(NpyArray{{Eigen::Index{1} << 60, 0, 0}, {}}, "V.npy"),
                  FileError);
}

TEST_CASE("npy: a number too large for float is refused, infinity is not", "[io][npy]") {
  const double inf = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH(attnflow::tokens_from<float>(NpyArray{{1, 1}, {1e300}}, "x.npy"),
                    "x.npy: holds 1e+300, which is too large for float");
  CHECK(std::isinf(attnflow::tokens_from<float>(NpyArray{{1, 1}, {inf}}, "x.npy")(0, 0)));
}

TEST_CASE("npy: rows streamed one by one make one array", "[io][npy]") {
  const Folder folder;
  for (const int m : {0, 1, 12345}) {
    NpyWriter<float> writer(folder / "a.npy", {2, 1});
    CHECK_FALSE(fs::exists(folder / "a.npy"));
    for (int k = 0; k < m; ++k) writer.append(std::vector<float>{static_cast<float>(k), 0.5F});
    CHECK(writer.rows() == m);
    if (m == 1) {
      writer.close();
      CHECK_FALSE(fs::exists(folder / "a.npy"));
    }
    writer.finish();
    const NpyArray array = load_npy(folder / "a.npy");
    CHECK(array.shape == Shape{m, 2, 1});
    if (m > 0) CHECK(array.values[array.values.size() - 2] == m - 1);
    CHECK(get(folder / "a.npy").size() % 64 == static_cast<std::size_t>(m) * 8 % 64);
    CHECK_THROWS_AS(writer.finish(), std::logic_error);
    CHECK_THROWS_AS(writer.append(std::vector<float>{1, 2}), std::logic_error);
    fs::remove(folder / "a.npy");
  }
}

TEST_CASE("npy: the header of a streamed array has room for any number of rows", "[io][npy]") {
  const Folder folder;
  for (std::size_t axes = 1; axes < 50; ++axes) {  // some of these headers fill their 64 bytes at m = 0
    NpyWriter<std::int32_t> writer(folder / "a.npy", Shape(axes, 1));
    for (std::int32_t k = 0; k < 1234; ++k) writer.append(std::vector{k});
    writer.finish();
    const NpyArray array = load_npy(folder / "a.npy");
    CHECK(array.shape[0] == 1234);
    CHECK(array.values[1233] == 1233);
  }
}

TEST_CASE("npy: a writer that never finishes leaves nothing", "[io][npy]") {
  const Folder folder;
  put(folder / "a.npy", "before");
  {
    NpyWriter<double> writer(folder / "a.npy", {3});
    writer.append(std::vector<double>{1, 2, 3});
    CHECK_THROWS_WITH(writer.append(std::vector<double>{1, 2}),
                      "NpyWriter::append: a row of 2 values, expected 3");
    CHECK(folder.files() == 2);
  }
  CHECK(folder.files() == 1);
  CHECK(get(folder / "a.npy") == "before");
  CHECK_THROWS_WITH(NpyWriter<double>(folder / "b.npy", {-3}),
                    ContainsSubstring("NpyWriter: row_shape is (-3,)"));
  CHECK_THROWS_WITH(NpyWriter<double>(folder.path / "none" / "b.npy", {3}),
                    ContainsSubstring("b.npy: cannot be created: "));
  CHECK(folder.files() == 1);
}
