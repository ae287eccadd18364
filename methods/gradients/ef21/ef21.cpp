// EF21 (Richtarik, Sokolov, Fatkhullin 2021, arXiv 2106.05203): workers send the compressed difference to
// what they have told so far. With average < 1 EF21-SGDM (Fatkhullin, Tyurin, Richtarik 2023, arXiv
// 2305.15155): the difference of an average of gradients, which keeps the noise of minibatches down.
//
//   m <- (1 - average) m + average g,  D = C(m - h) is sent,  h <- h + D
//   all:  G <- G + mean D,  x <- x - gamma G
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/sparsifier.h"

namespace laconic {

MethodDescription describe_ef21() {
  MethodDescription method;
  method.slug = "ef21";
  method.title = "EF21: A New, Simpler, Theoretically Better, and Practically Faster Error Feedback";
  method.paper = "Richtarik, Sokolov, Fatkhullin; NeurIPS 2021; arXiv 2106.05203";
  method.subject = "gradients";
  method.summary = "sparse messages of differences to an estimator of each worker's gradient";
  method.parameters = sparsifier_parameters();
  method.parameters.push_back({"average",
                               ParameterSpec::Type::number,
                               "1",
                               0.001,
                               1,
                               {},
                               "weight of a new gradient in the average that is sent (1: no average)"});
  method.exchange = [](const ExchangeRequest& request) {
    FeedbackForm form = estimator_feedback();
    form.average = request.parameters.number("average");
    return sparsified_exchange(request, form);
  };
  return method;
}

}  // namespace laconic
