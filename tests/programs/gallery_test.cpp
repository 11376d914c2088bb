// The program `gallery`, with scripts in the place of examples.

#include "catch.hpp"
#include "folder.hpp"

#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

std::string read(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A folder with programs, their sources and a list.
struct Workshop {
  Folder folder;
  fs::path root = folder.path;

  void add(const std::string& name, const std::string& script) const {
    write(root / "programs" / name, "#!/bin/sh\n" + script);
    fs::permissions(root / "programs" / name, fs::perms::owner_all);
    write(root / "sources" / (name + ".cpp"), "// the source of " + name + "\n");
  }
  [[nodiscard]] int run(const std::string& names = "") const {
    const auto at = [&](const char* name) { return " '" + (root / name).string() + "'"; };
    const std::string command = std::string("'") + ATTNFLOW_GALLERY + "' --list" + at("list.txt") +
                                " --programs" + at("programs") + " --sources" + at("sources") + " --out" +
                                at("out") + " " + names + " >" + at("said") + " 2>" + at("complained");
    const int status = std::system(command.c_str());
    REQUIRE(WIFEXITED(status));
    return WEXITSTATUS(status);
  }
  [[nodiscard]] std::string page() const { return read(root / "out/index.html"); }
  [[nodiscard]] bool says(const std::string& text) const { return page().find(text) != std::string::npos; }
};

/// Writes exhibit.json into the folder after --out, the last argument.
std::string exhibit(const std::string& title, const std::string& claims, bool passed) {
  return "for folder; do :; done\necho working\ncat > \"$folder/exhibit.json\" <<'END'\n{\"title\": \"" +
         title + "\", \"sentence\": \"One < two.\", \"passed\": " + (passed ? "true" : "false") +
         ", \"claims\": [" + claims +
         "], \"files\": [{\"kind\": \"figure\", \"file\": \"figure.svg\"}, {\"kind\": \"page\", \"file\": "
         "\"view.html\"}]}\nEND\nexit " +
         (passed ? "0\n" : "1\n");
}

const std::string holds =
    R"({"text": "distance", "value": 0.0012, "expected": "at most 0.01", "claimed": true, "holds": true})";
const std::string fails =
    R"({"text": "rank", "value": null, "expected": "2", "claimed": true, "holds": false})";
const std::string remark =
    R"({"text": "steps", "value": 17, "expected": "", "claimed": false, "holds": true})";

}  // namespace

TEST_CASE("gallery: every example is run and shown, in the order of the list", "[gallery]") {
  const Workshop shop;
  shop.add("second", exhibit("Another & more", holds, true));
  shop.add("first", "test \"$1 $2\" = '--size 3' || exit 7\n" +
                        exhibit("The first z_1 and e^{−t}", holds + "," + remark, true));
  write(shop.root / "list.txt", "# a comment\nfirst --size 3  # and another\n\nsecond\n");
  REQUIRE(shop.run() == 0);
  const std::string page = shop.page();
  const auto first = page.find("The first"), second = page.find("Another &amp; more");
  REQUIRE(first != std::string::npos);
  REQUIRE(second != std::string::npos);
  CHECK(first < second);
  CHECK(shop.says("<h2>The first z<sub>1</sub> and e<sup>−t</sup></h2>"));
  CHECK(shop.says("One &lt; two."));
  CHECK(shop.says(R"(<li class="holds">distance: <b>0.0012</b>, expected at most 0.01</li>)"));
  CHECK(shop.says("<li>steps: <b>17</b></li>"));
  CHECK(shop.says(R"(src="first/figure.svg")"));
  CHECK(shop.says(R"(href="first/view.html")"));
  CHECK(shop.says("2 examples, 2 of them whole; 2 of 2 claims hold."));
  CHECK(read(shop.root / "out/first/first.cpp") == "// the source of first\n");
  CHECK(read(shop.root / "out/first/output.txt") == "working\n");
}

TEST_CASE("gallery: what fails is shown as failed, and is the exit status", "[gallery]") {
  const Workshop shop;
  shop.add("wrong", exhibit("A wrong claim", fails, false));
  shop.add("silent", "exit 0\n");
  shop.add("killed", "kill -9 $$\n");
  write(shop.root / "list.txt", "wrong\nsilent\nkilled\nabsent\n");
  // What an earlier run said is not taken for what this one says.
  write(shop.root / "out/silent/exhibit.json",
        R"({"title": "stale", "sentence": "", "claims": [], "files": []})");
  CHECK(shop.run() == 1);
  CHECK(shop.says(R"(<li class="fails">rank: <b>not finite</b>, expected 2</li>)"));
  CHECK(shop.says("ended with status 137"));
  CHECK(shop.says("ended with status 127"));
  CHECK(!shop.says("stale"));
  CHECK(shop.says("said nothing about itself"));
  CHECK(shop.says("4 examples, 0 of them whole; 0 of 1 claims hold."));
  CHECK(read(shop.root / "said").find("silent: FAILED") != std::string::npos);
  for (const char* name : {"wrong", "silent", "killed"}) {  // each alone, too
    INFO(name);
    CHECK(shop.run(name) == 1);
  }
}

TEST_CASE("gallery: an exhibit.json with other contents is a failure that names file and key", "[gallery]") {
  const Workshop shop;
  const auto whole = [](const std::string& claims, const std::string& files) {
    return R"({"title": "T", "sentence": "S", "passed": true, "claims": )" + claims + R"(, "files": )" +
           files + "}";
  };
  struct Contents {
    std::string json, complaint;
  };
  const std::string claim = R"([{"text": "a", "value": 1, "expected": "b", "claimed": true, "holds": )";
  const Contents cases[] = {
      {"", " is not JSON, expected an object"},
      {"{\"title\": \"T\"", " is not JSON, expected an object"},
      {"\"\xff\"", " is not JSON, expected an object"},
      {std::string(100000, '['), " is not JSON, expected an object"},
      {std::string(100000, '[') + std::string(100000, ']'), " is an array, expected an object"},
      {"[]", " is an array, expected an object"},
      {"17", " is a number, expected an object"},
      {"null", " is null, expected an object"},
      {"\"text\"", " is a string, expected an object"},
      {"{}", ": title is missing"},
      {R"({"title": 1})", ": title is a number, expected a string"},
      {R"({"title": "T", "sentence": null})", ": sentence is null, expected a string"},
      {R"({"title": "T", "sentence": "S", "passed": "yes"})", ": passed is a string, expected true or false"},
      {R"({"title": "T", "sentence": "S", "passed": true})", ": claims is missing"},
      {whole("{}", "[]"), ": claims is an object, expected an array"},
      {whole("[1]", "[]"), ": claims[0] is a number, expected an object"},
      {whole(claim + "1}]", "[]"), ": claims[0].holds is a number, expected true or false"},
      {whole(claim + "true}, {}]", "[]"), ": claims[1].text is missing"},
      {whole(R"([{"text": "a", "expected": "b", "value": "1"}])", "[]"),
       ": claims[0].value is a string, expected a number or null"},
      {whole("[]", "null"), ": files is null, expected an array"},
      {whole("[]", R"([{"kind": "figure", "file": []}])"), ": files[0].file is an array, expected a string"},
  };
  write(shop.root / "list.txt", "odd\ngood\n");
  shop.add("good", exhibit("The others are shown", holds, true));
  for (const auto& [json, complaint] : cases) {
    write(shop.root / "contents", json);
    shop.add("odd", "for folder; do :; done\ncp \"" + (shop.root / "contents").string() +
                        "\" \"$folder/exhibit.json\"\n");
    INFO(json.substr(0, 200));
    CHECK(shop.run() == 1);
    CHECK(read(shop.root / "complained") ==
          "gallery: " + (shop.root / "out/odd/exhibit.json").string() + complaint + "\n");
    CHECK(shop.says("<li class=\"fails\">" + (shop.root / "out/odd/exhibit.json").string() + complaint +
                    "</li>"));
    CHECK(read(shop.root / "said").find("odd: FAILED") != std::string::npos);
    CHECK(shop.says("<h2>The others are shown</h2>"));
    CHECK(shop.says("2 examples, 1 of them whole; 1 of 1 claims hold."));
  }
  shop.add("odd", "for folder; do :; done\nmkdir \"$folder/exhibit.json\"\n");
  CHECK(shop.run() == 1);
  CHECK(read(shop.root / "complained").find("exhibit.json cannot be read, expected a file\n") !=
        std::string::npos);
}

TEST_CASE("gallery: mistakes of the caller", "[gallery]") {
  const Workshop shop;
  shop.add("one", exhibit("One", holds, true));
  CHECK(shop.run() == 2);
  CHECK(read(shop.root / "complained").find("list.txt cannot be read") != std::string::npos);
  write(shop.root / "list.txt", "one\n");
  CHECK(shop.run("two") == 2);
  CHECK(read(shop.root / "complained").find("'two' is not in") != std::string::npos);
  CHECK(shop.run("one --jobs --list") == 2);
  CHECK(read(shop.root / "complained").find("gallery: --jobs: --list, expected a value") == 0);
  CHECK(shop.run("one") == 0);
  fs::remove_all(shop.root / "out");
  write(shop.root / "out", "a file");
  CHECK(shop.run("one") == 2);
  CHECK(read(shop.root / "complained").find("gallery: --out: ") == 0);
  CHECK(read(shop.root / "complained").find("expected a folder") != std::string::npos);
}
