(** Slopes of activation functions: between which numbers (f a - f b) / (a - b) lies.

    The intervals are those of the checker's table. A function of one real variable gets them from its pieces, from its
    derivative by the mean value theorem, or from functions of which it is made. [lipschitz_pointwise] does the rest.

    Not said: that an interval is the least one; anything of erf, gelu, silu and mish. *)

From Coq Require Import Reals Lra.
From Lipverify Require Import Sums Vectors Lipschitz.
Open Scope R_scope.

(** ** Rules *)

Lemma slopes_ext alpha beta f g : (forall x, f x = g x) -> slopes alpha beta f -> slopes alpha beta g.
Proof. intros same known a b order. rewrite <- !same. apply known, order. Qed.

Lemma slopes_le alpha alpha' beta beta' f :
  alpha' <= alpha -> beta <= beta' -> slopes alpha beta f -> slopes alpha' beta' f.
Proof. intros low high known a b order. specialize (known a b order). split; nra. Qed.

(** Slopes in [-1, 1] is the same as 1-Lipschitz, slopes in [0, 1] as monotone and 1-Lipschitz. *)
Theorem slopes_nonexpansive f : slopes (-1) 1 f <-> forall a b, Rabs (f a - f b) <= Rabs (a - b).
Proof.
  split; intros known.
  - intros a b. destruct (Rle_or_lt b a) as [order|order].
    + pose proof (known a b order). rewrite (Rabs_right (a - b)) by lra. apply Rabs_le. lra.
    + assert (a <= b) as reversed by lra. pose proof (known b a reversed).
      rewrite (Rabs_left (a - b)) by lra. apply Rabs_le. lra.
  - intros a b order. specialize (known a b). rewrite (Rabs_right (a - b)) in known by lra.
    unfold Rabs in known. destruct (Rcase_abs (f a - f b)); lra.
Qed.

Theorem slopes_monotone_nonexpansive f :
  slopes 0 1 f <-> (forall a b, b <= a -> f b <= f a) /\ (forall a b, Rabs (f a - f b) <= Rabs (a - b)).
Proof.
  rewrite <- slopes_nonexpansive. split.
  - intros known. split; intros a b order; specialize (known a b order); lra.
  - intros [monotone known] a b order. specialize (monotone a b order). specialize (known a b order). lra.
Qed.

(** A derivative between alpha and beta everywhere. *)
Theorem slopes_derivative alpha beta f f' :
  (forall x, derivable_pt_lim f x (f' x)) -> (forall x, alpha <= f' x <= beta) -> slopes alpha beta f.
Proof.
  intros derivative between a b [order| ->]; [|lra].
  destruct (MVT_cor2 f f' b a order) as (c & -> & _); [auto|]. specialize (between c). split; nra.
Qed.

(** Two pieces that meet at p. *)
Lemma slopes_pieces alpha beta f g h p :
  slopes alpha beta g -> slopes alpha beta h ->
  (forall x, x <= p -> f x = g x) -> (forall x, p <= x -> f x = h x) -> slopes alpha beta f.
Proof.
  intros known_g known_h left right a b order.
  destruct (Rle_or_lt a p) as [low|high].
  - rewrite !left by lra. apply known_g, order.
  - destruct (Rle_or_lt p b) as [above|below].
    + rewrite !right by lra. apply known_h, order.
    + assert (b <= p) as before by lra. assert (p <= a) as after by lra.
      pose proof (known_g p b before) as first. pose proof (known_h a p after) as second.
      rewrite <- !left in first by lra. rewrite <- !right in second by lra. lra.
Qed.

(** Slopes of a sum, of a positive multiple, and of a constant minus the mirrored function. *)
Lemma slopes_plus alpha beta gamma delta f g :
  slopes alpha beta f -> slopes gamma delta g -> slopes (alpha + gamma) (beta + delta) (fun x => f x + g x).
Proof. intros known_f known_g a b order. specialize (known_f a b order). specialize (known_g a b order). lra. Qed.

Lemma slopes_scale alpha beta c f : 0 <= c -> slopes alpha beta f -> slopes (c * alpha) (c * beta) (fun x => c * f x).
Proof. intros nonneg known a b order. specialize (known a b order). split; nra. Qed.

Lemma slopes_mirror alpha beta c f : slopes alpha beta f -> slopes alpha beta (fun x => c - f (- x)).
Proof.
  intros known a b order. assert (- a <= - b) as reversed by lra. specialize (known (- b) (- a) reversed). lra.
Qed.

(** x - f x of a function with slopes in [0, 1] has them too. *)
Lemma slopes_complement f : slopes 0 1 f -> slopes 0 1 (fun x => x - f x).
Proof. intros known a b order. specialize (known a b order). lra. Qed.

(** f after g, both monotone. *)
Lemma slopes_compose beta delta f g :
  0 <= beta -> slopes 0 beta f -> slopes 0 delta g -> slopes 0 (beta * delta) (fun x => f (g x)).
Proof.
  intros nonneg known_f known_g a b order. pose proof (known_g a b order) as inner.
  assert (g b <= g a) as kept by lra. pose proof (known_f (g a) (g b) kept). split; nra.
Qed.

Lemma slopes_line c d : slopes c c (fun x => c * x + d).
Proof. intros a b _. lra. Qed.

Lemma slopes_constant c : slopes 0 0 (fun _ => c).
Proof. intros a b _. lra. Qed.

(** ** Functions of straight pieces *)

Definition relu (x : R) : R := Rmax 0 x.
Definition leaky_relu (a x : R) : R := if Rle_dec 0 x then x else a * x.
Definition hardtanh (low high x : R) : R := Rmax low (Rmin high x).
Definition hardsigmoid (x : R) : R := hardtanh 0 6 (x + 3) / 6.
Definition softshrink (c x : R) : R := x - hardtanh (- c) c x.

Theorem slopes_maximum_with_constant c : slopes 0 1 (Rmax c).
Proof. intros a b order. unfold Rmax. destruct (Rle_dec c a), (Rle_dec c b); lra. Qed.

Theorem slopes_minimum_with_constant c : slopes 0 1 (Rmin c).
Proof. intros a b order. unfold Rmin. destruct (Rle_dec c a), (Rle_dec c b); lra. Qed.

Theorem slopes_relu : slopes 0 1 relu.
Proof. apply slopes_maximum_with_constant. Qed.

Theorem slopes_abs : slopes (-1) 1 Rabs.
Proof. apply slopes_nonexpansive. intros a b. apply Rabs_triang_inv2. Qed.

(** Leaky relu, prelu and rrelu in evaluation: slope 1 from 0 on, slope a before. *)
Theorem slopes_leaky_relu a : slopes (Rmin a 1) (Rmax a 1) (leaky_relu a).
Proof.
  pose proof (Rmin_l a 1). pose proof (Rmin_r a 1). pose proof (Rmax_l a 1). pose proof (Rmax_r a 1).
  apply slopes_pieces with (g := fun x => a * x + 0) (h := fun x => 1 * x + 0) (p := 0).
  - apply slopes_le with a a; [assumption | assumption | apply slopes_line].
  - apply slopes_le with 1 1; [assumption | assumption | apply slopes_line].
  - intros x below. unfold leaky_relu. destruct (Rle_dec 0 x); [|ring]. replace x with 0 by lra. ring.
  - intros x above. unfold leaky_relu. destruct (Rle_dec 0 x); [ring | lra].
Qed.

Theorem slopes_hardtanh low high : slopes 0 1 (hardtanh low high).
Proof.
  apply slopes_le with 0 (1 * 1); [lra | lra |].
  apply (slopes_compose 1 1 (Rmax low) (Rmin high)); [lra | apply slopes_maximum_with_constant |].
  apply slopes_minimum_with_constant.
Qed.

Theorem slopes_hardsigmoid : slopes 0 (1 / 6) hardsigmoid.
Proof. intros a b order. unfold hardsigmoid. pose proof (slopes_hardtanh 0 6 (a + 3) (b + 3)). lra. Qed.

(** x - c from c on, x + c up to -c, 0 between. *)
Theorem slopes_softshrink c : slopes 0 1 (softshrink c).
Proof. apply (slopes_complement (hardtanh (- c) c)), slopes_hardtanh. Qed.

(** ** Smooth functions *)

Theorem slopes_sin : slopes (-1) 1 sin.
Proof. apply slopes_derivative with cos; [apply derivable_pt_lim_sin | apply COS_bound]. Qed.

Theorem slopes_cos : slopes (-1) 1 cos.
Proof.
  apply slopes_derivative with (fun x => - sin x); [apply derivable_pt_lim_cos|].
  intros x. pose proof (SIN_bound x). lra.
Qed.

(** 1 / d lies in [0, 1] where d >= 1. *)
Lemma inverse_small d : 1 <= d -> 0 <= / d <= 1.
Proof.
  intros large. split; [apply Rlt_le, Rinv_0_lt_compat; lra|].
  rewrite <- Rinv_1. apply Rinv_le_contravar; lra.
Qed.

Theorem slopes_atan : slopes 0 1 atan.
Proof.
  apply slopes_derivative with (fun x => / (1 + x ^ 2)); [apply derivable_pt_lim_atan|].
  intros x. apply inverse_small. pose proof (pow2_ge_0 x). lra.
Qed.

Theorem slopes_asinh : slopes 0 1 arcsinh.
Proof.
  apply slopes_derivative with (fun x => / sqrt (x ^ 2 + 1)); [apply derivable_pt_lim_arcsinh|].
  intros x. apply inverse_small. pose proof (pow2_ge_0 x).
  assert (sqrt 1 <= sqrt (x ^ 2 + 1)) as root by (apply sqrt_le_1_alt; lra). rewrite sqrt_1 in root. exact root.
Qed.

(** tanh' = 1 / cosh^2. *)
Lemma cosh_large x : 1 <= cosh x * cosh x /\ cosh x * cosh x - sinh x * sinh x = 1.
Proof.
  assert (cosh x * cosh x - sinh x * sinh x = 1) as pythagoras.
  { unfold cosh, sinh. replace 1 with (exp x * exp (- x)); [field|].
    rewrite <- exp_plus, Rplus_opp_r. apply exp_0. }
  pose proof (Rle_0_sqr (sinh x)). unfold Rsqr in *. lra.
Qed.

Theorem slopes_tanh : slopes 0 1 tanh.
Proof.
  apply slopes_derivative with (fun x => / (cosh x * cosh x)).
  - intros x. destruct (cosh_large x) as [large pythagoras].
    assert (cosh x <> 0) as nonzero by (intros zero; rewrite zero in large; lra).
    replace (/ (cosh x * cosh x)) with ((cosh x * cosh x - sinh x * sinh x) / (cosh x)²)
      by (rewrite pythagoras; unfold Rsqr, Rdiv; ring).
    apply (derivable_pt_lim_div sinh cosh);
      [apply derivable_pt_lim_sinh | apply derivable_pt_lim_cosh | exact nonzero].
  - intros x. apply inverse_small, cosh_large.
Qed.

Theorem slopes_tanhshrink : slopes 0 1 (fun x => x - tanh x).
Proof. apply slopes_complement, slopes_tanh. Qed.

Definition sigmoid (x : R) : R := / (1 + exp (- x)).
Definition softplus (x : R) : R := ln (1 + exp x).
Definition log_sigmoid (x : R) : R := ln (sigmoid x).

(** sigmoid x = (1 + tanh (x / 2)) / 2, so a quarter of the slopes of tanh. *)
Lemma sigmoid_tanh x : sigmoid x = (1 + tanh (x / 2)) / 2.
Proof.
  unfold sigmoid, tanh, sinh, cosh. pose proof (exp_pos (x / 2)) as Hp. pose proof (exp_pos (- (x / 2))) as Hq.
  replace (exp (- x)) with (exp (- (x / 2)) * / exp (x / 2)); [field; lra|].
  rewrite <- exp_Ropp, <- exp_plus. f_equal. field.
Qed.

Theorem slopes_sigmoid : slopes 0 (1 / 4) sigmoid.
Proof.
  intros a b order. rewrite !sigmoid_tanh. pose proof (slopes_tanh (a / 2) (b / 2)). lra.
Qed.

(** softplus' = 1 / (1 + e^-x). *)
Theorem slopes_softplus : slopes 0 1 softplus.
Proof.
  apply slopes_derivative with (fun x => / (1 + exp x) * (0 + exp x)).
  - intros x. apply (derivable_pt_lim_comp (fct_cte 1 + exp)%F ln).
    + apply derivable_pt_lim_plus; [apply derivable_pt_lim_const | apply derivable_pt_lim_exp].
    + apply derivable_pt_lim_ln. unfold plus_fct, fct_cte. pose proof (exp_pos x). lra.
  - intros x. pose proof (exp_pos x) as positive.
    replace (/ (1 + exp x) * (0 + exp x)) with (1 - / (1 + exp x)) by (field; lra).
    pose proof (inverse_small (1 + exp x)). lra.
Qed.

Theorem slopes_log_sigmoid : slopes 0 1 log_sigmoid.
Proof.
  apply slopes_ext with (fun x => 0 - softplus (- x)); [|apply slopes_mirror, slopes_softplus].
  intros x. unfold log_sigmoid, sigmoid, softplus. pose proof (exp_pos (- x)). rewrite ln_Rinv by lra. ring.
Qed.
