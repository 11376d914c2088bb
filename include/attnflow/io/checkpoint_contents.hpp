/// \file
/// What a checkpoint holds, as plain values.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// What arrays of a checkpoint hold.
template <class T>
concept CheckpointElement = std::same_as<T, double> || std::same_as<T, float>;

/// An array of any shape, in C order (the last index runs fastest).
struct CheckpointArray {
  /// How many entries along each axis.
  std::vector<Eigen::Index> shape;
  /// As many as the product of the shape.
  std::variant<std::vector<double>, std::vector<float>> values;
  bool operator==(const CheckpointArray&) const = default;
};

/// What a run was asked for, where it is, and by which program: all of it plain values.
struct Checkpoint {
  std::string program, version;  ///< who wrote it
  std::string build;             ///< the library's version, the compiler and what its flags allow
  std::string simd;              ///< the level of vector instructions, as name_of(simd_level()) has it

  double t = 0;          ///< the time reached
  long steps = 0;        ///< made so far
  long rejected = 0;     ///< tried and discarded
  long evaluations = 0;  ///< of the field
  long evaluations_again =
      0;               ///< so many of these the resumed run repeats: a slope that its stepper has lost
  double seconds = 0;  ///< taken so far

  double next_step = 0, previous_error = 1e-4;  ///< what the stepper remembers, where it does
  /// The last try was rejected.
  bool after_rejection = false;

  std::vector<std::pair<std::string, std::string>> options;  ///< names and values, in the program's own terms
  /// States and weights by name.
  std::vector<std::pair<std::string, CheckpointArray>> arrays;

  bool operator==(const Checkpoint&) const = default;

  /// Keeps the memory of a stepper that has one, such as DormandPrince5.
  template <class Stepper>
  void remember(const Stepper& stepper) {
    if constexpr (requires { stepper.memory(); }) {
      const auto memory = stepper.memory();
      next_step = memory.next_step;
      previous_error = memory.previous_error;
      after_rejection = memory.after_rejection;
    }
  }
  /// Gives it back: the next run of the stepper goes on with it.
  template <class Stepper>
  void restore(Stepper& stepper) const {
    if constexpr (requires { stepper.memory(); })
      stepper.restore(typename Stepper::Memory{next_step, previous_error, after_rejection});
  }

  /// The value of an option, or nothing.
  [[nodiscard]] std::optional<std::string> option(std::string_view name) const {
    for (const auto& [key, value] : options)
      if (key == name) return value;
    return std::nullopt;
  }

  /// The array of that name, or nullptr.
  [[nodiscard]] const CheckpointArray* find(std::string_view name) const noexcept {
    for (const auto& [key, array] : arrays)
      if (key == name) return &array;
    return nullptr;
  }
  /// The array of that name, made empty if there is none.
  [[nodiscard]] CheckpointArray& array(std::string_view name) {
    for (auto& [key, array] : arrays)
      if (key == name) return array;
    return arrays.emplace_back(std::string(name), CheckpointArray{}).second;
  }

  /// Sets an array of shape (n, d) to the tokens, d × n: the same bytes. Memory is reused.
  template <CheckpointElement Scalar, int Dim>
  void set(std::string_view name, const Tokens<Scalar, Dim>& x) {
    CheckpointArray& to = array(name);
    to.shape = {x.cols(), x.rows()};
    if (!std::holds_alternative<std::vector<Scalar>>(to.values)) to.values.emplace<std::vector<Scalar>>();
    std::get<std::vector<Scalar>>(to.values).assign(x.data(), x.data() + x.size());
  }
  /// The tokens that set() kept. \throws std::invalid_argument if there is no such array, or one of another type or
  /// shape.
  template <CheckpointElement Scalar, int Dim = Eigen::Dynamic>
  [[nodiscard]] Tokens<Scalar, Dim> tokens(std::string_view name) const {
    const CheckpointArray* const from = find(name);
    if (from == nullptr) detail::refuse("Checkpoint::tokens: no array is called ", name);
    const auto* const values = std::get_if<std::vector<Scalar>>(&from->values);
    if (values == nullptr)
      detail::refuse("Checkpoint::tokens: ", name, " is of another precision, expected ",
                     sizeof(Scalar) == 4 ? "float" : "double");
    if (from->shape.size() != 2 || (Dim != Eigen::Dynamic && from->shape[1] != Dim))
      detail::refuse("Checkpoint::tokens: ", name, " has ", from->shape.size(),
                     " axes, expected the shape (n, d)");
    return Eigen::Map<const Tokens<Scalar, Dim>>(values->data(), from->shape[1], from->shape[0]);
  }
};

}}  // namespace attnflow
