// The velocity of a field, returned.
#pragma once

/// f(t, x).
template <class Field>
typename Field::State velocity(const Field& field, double t, const typename Field::State& x) {
  typename Field::State dx;
  field(t, x, dx);
  return dx;
}
